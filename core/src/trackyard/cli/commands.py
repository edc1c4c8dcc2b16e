"""Which commands has core, where are they, and what does the help say of each?

It is the table that plugins write as entry points of the group `trackyard.commands`.
"""

from __future__ import annotations

COMMANDS = {
    "init": ("trackyard.cli.init:init", "Write a project's configuration."),
    "experiment-tracker": (
        "trackyard.cli.experiment_trackers:experiment_tracker",
        "Experiment trackers.",
    ),
    "stack": ("trackyard.cli.stacks:stack", "Stacks of trackers, orchestrator and artifact store."),
    "run": ("trackyard.cli.run_command:run", "Run a pipeline."),
    "runs": ("trackyard.cli.runs:runs", "Look at runs."),
    "exec": ("trackyard.cli.exec_command:exec_", "Run a command as a tracked run."),
    "log": ("trackyard.cli.log_command:log", "Log into the run of `trackyard exec` from a script."),
    "plugins": ("trackyard.cli.plugins:plugins", "List the installed plugins."),
    "archive": ("trackyard.cli.archive_command:archive", "Write runs into one file for others."),
    "import": (
        "trackyard.cli.import_command:import_",
        "Take over the runs of a tracker, or of an export.",
    ),
    "replay": ("trackyard.cli.replay:replay", "Send runs to another tracker."),
    "doctor": ("trackyard.cli.doctor:doctor", "Look for what is wrong, and say what helps."),
    "gc": ("trackyard.cli.gc:gc", "Delete journals that every tracker has acknowledged."),
    "store": ("trackyard.cli.store:store", "The index of runs: make it anew, or upgrade it."),
    "config": ("trackyard.cli.config:config", "What the configuration says, and from where."),
    "completion": ("trackyard.cli.completion:completion", "Completion by your shell."),
    "sync": ("trackyard.cli.sync:sync", "Deliver what trackers do not have yet."),
    "ui": ("trackyard.cli.ui:ui", "Serve a tracker's own page on this machine."),
}
