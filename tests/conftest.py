import signal

from tests.integration.nodes.driver import warm

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup our children would ignore it
warm()  # before any test starts the fork server: heavy imports are then paid once a process
