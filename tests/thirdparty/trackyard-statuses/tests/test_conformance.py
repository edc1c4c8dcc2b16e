from trackyard.testing import CommandSuite


class TestStatuses(CommandSuite):
    command = "statuses"
    arguments = ["list"]
    mistake = ["show", "nothing"]
