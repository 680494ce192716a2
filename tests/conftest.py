from tests.integration.nodes.driver import warm

warm()  # before any test starts the fork server: heavy imports are then paid once a process
