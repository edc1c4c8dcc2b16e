"""Are plugins found, and is each that breaks a rule refused with a word on how to mend it?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from trackyard import PluginError
from trackyard.hooks import discovery
from trackyard.hooks.discovery import (
    FLAVORS,
    GROUPS,
    PLUGINS,
    find_plugins,
    load_flavor,
    load_plugins as load_all_plugins,
)
from trackyard.hooks.known import known_flavors
from trackyard.hooks.rules import check_hooks, implemented_hooks


def load_plugins():
    """Load what a test has installed: the workspace has a cross-cutting plugin of its own."""
    loaded, problems = load_all_plugins()
    return tuple((name, plugin) for name, plugin in loaded if name != "system-metrics"), problems


HEAD = "from trackyard import flavor, hookimpl\nraise_at_import = None\n"

GOOD = f"""{HEAD}
@flavor
class Tracker:
    '''A flavor that keeps the rules.'''
    @hookimpl
    def tracker_start_run(self, run): ...
    @hookimpl(trylast=True)
    def tracker_log(self, batch): ...
    def helper(self): ...
"""

RARER = f"""import contextlib
{GOOD}
    @hookimpl
    @contextlib.contextmanager
    def tracker_activate_run(self, run): yield
    @hookimpl
    def tracker_read_run(self, run): yield
    @staticmethod
    @hookimpl
    def tracker_url(run): ...
"""

UNMARKED = "    def tracker_log(self, run, batch): ...\n"
UNKNOWN = "    @hookimpl\n    def tracker_lgo(self, run, batch): ...\n"
FOREIGN = "    @hookimpl\n    def completely_different(self): ...\n"
KEYWORD_ONLY = "    @hookimpl\n    def tracker_log(self, *, run, batch): ...\n"
ARGUMENTS = "    @hookimpl\n    def tracker_log(self, *args): ...\n"
KEYWORDS = "    @hookimpl\n    def tracker_log(self, run, **more): ...\n"
ASYNC = "    @hookimpl\n    async def tracker_log(self, run, batch): ...\n"
ASYNC_GENERATOR = "    @hookimpl\n    async def tracker_read_run(self, run):\n        yield\n"
ARGUMENT = "    @hookimpl\n    def tracker_log(self, run, batsh): ...\n"
NO_ARGUMENT = "    @hookimpl\n    def tracker_check(self, run): ...\n"
SPECNAME = "    @hookimpl(specname='tracker_lgo')\n    def send(self, run, batch): ...\n"
OLD_WRAPPER = "    @hookimpl(hookwrapper=True)\n    def tracker_log(self, run):\n        yield\n"
NO_GENERATOR = "    @hookimpl(wrapper=True)\n    def tracker_log(self, run): ...\n"
NO_SELF = "    @hookimpl\n    def tracker_log(run, batch): ...\n"
YIELD = "    @hookimpl\n    def tracker_log(self, run, batch):\n        yield\n"
BARE_CONTEXT = "    @hookimpl\n    def tracker_activate_run(self, run):\n        yield\n"

REJECTIONS = {
    "unmarked": (UNMARKED, "tracker_log() looks like a hook but is not marked", "write @trackyard"),
    "unknown": (UNKNOWN, "tracker_lgo() is not a hook of Trackyard", "did you mean 'tracker_log'?"),
    "foreign": (
        FOREIGN,
        "completely_different() is not a hook",
        "hooks are 'tracker_activate_run'",
    ),
    "keyword": (KEYWORD_ONLY, "takes 'run' by keyword only", "remove the * before it"),
    "arguments": (ARGUMENTS, "takes *args", "name the arguments that it needs: run, batch"),
    "keywords": (KEYWORDS, "takes **more", "name the arguments that it needs: run, batch"),
    "async": (ASYNC, "tracker_log() is async", "write a plain def"),
    "async generator": (ASYNC_GENERATOR, "tracker_read_run() is async", "write a plain def"),
    "argument": (ARGUMENT, "takes 'batsh'", "did you mean 'batch'?; it offers run, batch"),
    "no argument": (NO_ARGUMENT, "takes 'run', which this hook does not", "offers no argument"),
    "specname": (SPECNAME, "tracker_lgo() is not a hook", "did you mean 'tracker_log'?"),
    "old wrapper": (OLD_WRAPPER, "tracker_log() is a hookwrapper", "write wrapper=True"),
    "no self": (NO_SELF, "tracker_log() has no self", "write self as its first argument"),
    "yield": (YIELD, "tracker_log() has a yield", "remove the yield"),
    "bare context": (
        BARE_CONTEXT,
        "tracker_activate_run() is no context manager",
        "write @contextlib.contextmanager below @hookimpl",
    ),
    "no generator": (NO_GENERATOR, "tracker_log() is a wrapper without a yield", "write yield"),
}


def flavor_module(body):
    return f"{HEAD}\n@flavor\nclass Tracker:\n{body}"


@pytest.mark.parametrize(("body", "what", "way_out"), REJECTIONS.values(), ids=REJECTIONS)
def test_flavor_that_breaks_a_rule_is_refused(install, body, what, way_out):
    install("acme-tracker", {"acme": flavor_module(body)}, flavors={"acme": "acme:Tracker"})

    with pytest.raises(PluginError) as caught:
        load_flavor("acme")
    message = str(caught.value)

    assert message.startswith("flavor 'acme' from acme-tracker 1.0: ")
    assert what in message
    assert way_out in message
    assert "\n" not in message


@pytest.mark.parametrize(("body", "what", "way_out"), REJECTIONS.values(), ids=REJECTIONS)
def test_cross_cutting_plugin_that_breaks_a_rule_is_left_out(install, body, what, way_out):
    source = f"{HEAD}\nclass Audit:\n{body}\naudit = Audit()"
    install("acme-audit", {"acme": source}, plugins={"audit": "acme:audit"})
    loaded, (problem,) = load_plugins()

    assert loaded == ()
    assert problem.startswith("plugin 'audit' from acme-audit 1.0: ")
    assert what in problem
    assert way_out in problem


@pytest.mark.parametrize("value", ["acme:tracker", "acme:Plain", "acme", "acme:number"])
def test_what_is_no_flavor_class_is_refused(install, value):
    source = "class Plain: ...\ndef tracker(): ...\nnumber = 5"
    install("acme-tracker", {"acme": source}, flavors={"acme": value})

    with pytest.raises(PluginError, match=r"acme-tracker 1.0: .* is not a flavor class; write @tr"):
        load_flavor("acme")


def test_class_as_cross_cutting_plugin_is_refused(install):
    source = f"{HEAD}\nclass Audit:\n    @hookimpl\n    def tracker_log(self, run): ..."
    install("acme-audit", {"acme": source}, plugins={"audit": "acme:Audit"})
    _, (problem,) = load_plugins()

    assert "acme:Audit is a class" in problem
    assert "name an instance of it" in problem


def test_flavor_that_keeps_the_rules_is_loaded(install):
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})
    flavor = load_flavor("acme")

    assert flavor.__name__ == "Tracker"
    assert implemented_hooks(flavor) == ("tracker_start_run", "tracker_log")


def test_iterators_context_managers_and_static_methods_are_hooks(install):
    install("acme-tracker", {"acme": RARER}, flavors={"acme": "acme:Tracker"})

    assert {"tracker_activate_run", "tracker_read_run", "tracker_url"} < {
        *implemented_hooks(load_flavor("acme"))
    }


def test_module_is_a_cross_cutting_plugin(install):
    source = f"{HEAD}\n@hookimpl(wrapper=True)\ndef tracker_log(run, batch):\n    return (yield)"
    install("acme-audit", {"acme": source}, plugins={"audit": "acme"})
    ((name, module),), problems = load_plugins()

    assert (name, module.__name__, problems) == ("audit", "acme", ())


def test_two_plugins_of_one_name_are_both_named(install):
    source = f"{HEAD}\n@hookimpl\ndef tracker_log(run): ..."
    install("acme-audit", {"acme": source}, plugins={"audit": "acme"})
    install("beta-audit", {"beta": source}, plugins={"audit": "beta"})
    loaded, (problem,) = load_plugins()

    assert loaded == ()  # which of them is meant cannot be known
    assert "acme-audit 1.0" in problem
    assert "beta-audit 1.0" in problem


@pytest.mark.parametrize(
    "source", ["import nowhere_to_be_found", "1 / 0", "raise SystemExit(3)", "syntax error ("]
)
def test_broken_plugin_is_named_and_the_others_work(install, source):
    fine = f"{HEAD}\n@hookimpl\ndef tracker_log(run): ..."
    install("a-broken", {"broken": source}, plugins={"broken": "broken"})
    install("b-fine", {"fine": fine}, plugins={"fine": "fine"})
    loaded, (problem,) = load_plugins()

    assert [name for name, _ in loaded] == ["fine"]
    assert problem.startswith("plugin 'broken' from a-broken 1.0 cannot be loaded: ")


@pytest.mark.parametrize("value", ["broken:Missing", "nowhere_to_be_found:Tracker", "broken:a.b"])
def test_flavor_that_cannot_be_imported_names_its_distribution(install, value):
    install("acme-tracker", {"broken": ""}, flavors={"acme": value}, version="2.5")

    with pytest.raises(PluginError, match=r"'acme' from acme-tracker 2.5 cannot be loaded: \S+ "):
        load_flavor("acme")


def test_properties_are_not_evaluated_when_the_rules_are_checked(install):
    body = "    @property\n    def tracker_odd(self): raise SystemExit\n"
    body += "    @hookimpl\n    def tracker_log(self): pass\n"
    install("acme-tracker", {"acme": flavor_module(body)}, flavors={"acme": "acme:Tracker"})

    assert load_flavor("acme")


def test_two_distributions_with_one_flavor_are_both_named(install):
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})
    install("beta-tracker", {"beta": GOOD}, flavors={"acme": "beta:Tracker"}, version="3")

    with pytest.raises(PluginError) as caught:
        load_flavor("acme")

    assert "declared by acme-tracker 1.0 and beta-tracker 3" in str(caught.value)
    assert "pip uninstall" in str(caught.value)


def test_distribution_that_is_found_twice_counts_once(install, monkeypatch):
    site = install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})
    monkeypatch.syspath_prepend(site)

    assert [info.name for info in find_plugins(FLAVORS)].count("acme") == 1


@pytest.mark.parametrize("metadata", ["", "Name: bare\nVersion: 1.0\n", "Summary: no name\n"])
def test_distribution_with_poor_metadata_hides_no_other(install, metadata):
    install("bare", {"bare": GOOD}, metadata=metadata, flavors={"bare": "bare:Tracker"})
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})

    assert {"acme", "bare"} <= {info.name for info in find_plugins(FLAVORS)}
    assert load_flavor("bare")


def test_entry_point_with_extras_is_loaded(install):
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker [extra]"})

    assert load_flavor("acme")


@pytest.mark.parametrize(
    "blocked",
    ["acme", "ACME", "acme-tracker", "Acme_Tracker", "acme.tracker", "other, acme--tracker ,"],
)
def test_blocked_flavor_is_not_imported_and_names_the_switch(install, monkeypatch, blocked):
    install("acme-tracker", {"acme": "1 / 0"}, flavors={"acme": "acme:Tracker"})
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", blocked)

    with pytest.raises(PluginError, match="is blocked by TRACKYARD_DISABLE_PLUGINS="):
        load_flavor("acme")
    (info,) = [info for info in find_plugins(FLAVORS) if info.name == "acme"]
    assert info.is_blocked


@pytest.mark.parametrize("blocked", ["audit", "acme.AUDIT"])
def test_blocked_cross_cutting_plugin_is_not_imported(install, monkeypatch, blocked):
    install("acme-audit", {"acme": "1 / 0"}, plugins={"audit": "acme"})
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", blocked)

    assert load_plugins() == ((), ())


def test_other_plugins_are_not_blocked(install, monkeypatch):
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "acm, acme-tracker-2,,")

    assert load_flavor("acme")


def test_dotted_path_is_a_flavor_without_packaging(project):
    (project.root / "my_trackers.py").write_text(GOOD)
    result = project.python(
        "from trackyard.hooks.discovery import load_flavor\n"
        "print(load_flavor('my_trackers:Tracker'))"
    )

    assert result.stdout == "<class 'my_trackers.Tracker'>\n"


def test_flavor_in_the_running_script_does_not_run_it_again(project):
    (project.root / "script.py").write_text(
        "print('running')\n"
        + GOOD
        + "from trackyard import start_run\n"
        + "with start_run('one') as run:\n    run.log_metric('loss', 1)\n"
    )
    project.configure('[experiment_trackers.local]\nflavor = "script:Tracker"\n')
    result = project.command(sys.executable, "script.py")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("running") == 1


def test_flavor_without_hooks_is_refused(install):
    class_without = "from trackyard import flavor\n@flavor\nclass Tracker:\n    pass\n"
    install("empty", {"empty": class_without}, flavors={"empty": "empty:Tracker"})

    with pytest.raises(PluginError, match="implements no hook; write methods such as tracker_log"):
        load_flavor("empty")


def test_module_beside_the_configuration_is_found_by_the_command_line(project):
    (project.root / "my_trackers.py").write_text(GOOD)
    project.configure('[experiment_trackers.local]\nflavor = "my_trackers:Tracker"\n')
    result = project.command(str(Path(sys.executable).with_name("trackyard")), "ui")

    assert "has no page of its own" in result.stderr


def test_dotted_path_that_leads_nowhere_is_named(project):
    with pytest.raises(PluginError, match=r"'nowhere_at_all:Tracker' .* No module named 'nowhere_"):
        load_flavor("nowhere_at_all:Tracker")


def test_unknown_flavor_is_answered_with_the_nearest_name(install):
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})

    with pytest.raises(PluginError, match=r"no flavor 'acmee' is installed; did you mean 'acme'\?"):
        load_flavor("acmee")


@pytest.mark.parametrize("name", sorted(known_flavors()))
def test_known_flavor_that_is_missing_is_answered_with_what_to_type(project, monkeypatch, name):
    monkeypatch.setattr("sys.path", [])  # nothing is installed

    with pytest.raises(PluginError, match=f"installed; type: pip install trackyard-{name}$"):
        load_flavor(name)


def test_known_flavor_that_resembles_an_installed_one_is_answered_with_what_to_type(
    monkeypatch, install
):
    site = install("acme", {"acme": GOOD}, flavors={"mlflow2": "acme:Tracker"})
    monkeypatch.setattr("sys.path", [str(site)])

    with pytest.raises(PluginError, match="pip install trackyard-mlflow"):
        load_flavor("mlflow")


def test_unknown_orchestrator_is_refused():
    with pytest.raises(PluginError, match=r"no orchestrator 'locl' .* did you mean 'local'"):
        discovery.load_orchestrator("locl")


# The command `trackyard plugins`


@pytest.fixture
def mixed_plugins(install):
    """One flavor that works, one that is broken, and a cross-cutting plugin."""
    audit = f"{HEAD}\n@hookimpl\ndef tracker_log(run): ..."
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"}, version="2.5")
    install("b-broken", {"broken": "1 / 0"}, flavors={"broken": "broken:Tracker"})
    install("c-audit", {"audit": audit}, plugins={"audit": "audit"})


def test_plugins_are_listed_with_distribution_version_file_and_hooks(project, mixed_plugins):
    result = project.trackyard("plugins", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}

    assert result.returncode == 0
    acme, broken = rows["acme"], rows["broken"]
    assert (acme["group"], acme["distribution"], acme["version"]) == (
        FLAVORS,
        "acme-tracker",
        "2.5",
    )
    assert acme["file"].endswith("acme.py")
    assert acme["hooks"] == ["tracker_start_run", "tracker_log"]
    assert acme["problem"] == ""
    assert "ZeroDivisionError" in broken["problem"]
    assert rows["audit"]["group"] == PLUGINS
    assert rows["audit"]["hooks"] == ["tracker_log"]
    assert rows["local"]["file"].endswith("local.py")


def test_plugins_are_listed_as_lines_in_a_pipe(project, mixed_plugins):
    lines = project.trackyard("plugins").stdout.splitlines()
    (acme,) = [line.split("\t") for line in lines if line.startswith("acme\t")]
    (broken,) = [line.split("\t") for line in lines if line.startswith("broken\t")]

    assert acme[1:4] == [FLAVORS, "acme-tracker", "2.5"]
    assert acme[5:] == ["tracker_start_run, tracker_log", ""]
    assert "cannot be loaded" in broken[-1]


def test_blocked_plugin_is_listed_without_import(project, mixed_plugins):
    result = project.trackyard("plugins", "--json", TRACKYARD_DISABLE_PLUGINS="B.Broken,mlflow")
    (row,) = [row for row in json.loads(result.stdout) if row["name"] == "broken"]

    assert "is blocked by TRACKYARD_DISABLE_PLUGINS=B.Broken,mlflow" in row["problem"]


def test_groups_are_those_of_the_design():
    names = ("flavors", "plugins", "orchestrators", "materializers", "commands")
    assert tuple(f"trackyard.{name}" for name in names) == GROUPS


LOOKED_AT = f"""{HEAD}
looks = []

class Meta(type):
    def __dir__(cls):
        looks.append(cls)
        return super().__dir__()

class Base(metaclass=Meta):
    pass

@flavor
class Tracker(Base):
    @hookimpl
    def tracker_log(self, run, batch): ...

plugin = Tracker()
"""


def test_class_that_keeps_the_rules_is_looked_through_once(install):
    install("acme", {"acme": LOOKED_AT}, flavors={"acme": "acme:Tracker"})
    flavor = load_flavor("acme")
    looks = sys.modules["acme"].looks
    assert looks
    looks.clear()

    assert load_flavor("acme") is flavor
    assert looks == []


def test_class_that_breaks_a_rule_is_refused_each_time(install):
    install("acme", {"acme": f"{GOOD}{UNMARKED}"}, flavors={"acme": "acme:Tracker"})
    for _ in range(2):
        with pytest.raises(PluginError, match="is not marked"):
            load_flavor("acme")


def test_hook_of_an_object_itself_is_checked_though_its_class_was(install):
    install("acme", {"acme": LOOKED_AT}, flavors={"acme": "acme:Tracker"})
    check_hooks(load_flavor("acme")(), "acme")
    odd = load_flavor("acme")()
    vars(odd)["tracker_end_run"] = lambda run: None

    with pytest.raises(PluginError, match="is not marked"):
        check_hooks(odd, "acme")
