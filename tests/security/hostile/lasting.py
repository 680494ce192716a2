"""Ways to outlive the job, and to harm the processes around it."""

import ctypes
import os
import signal
import subprocess
import sys
import time

from table import Contained, attack, relu, written


def _sleeper(place):
    """A process that the test can find by its command line."""
    return [sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)", place.plan["lasting"]]


@attack
def daemon(place):
    """Two forks and a session of its own: what our parent waits for is not what goes on."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            os.execv(sys.executable, _sleeper(place))
        os._exit(0)
    os.wait()
    time.sleep(0.2)
    raise Contained("left a daemon, which must be gone")


@attack
def daemon_of_a_good_module(place):
    """The same, beside output that is sound: the job ends well, the daemon ends too."""
    subprocess.Popen(_sleeper(place), start_new_session=True)
    written(place, {"m.c": "this is no C"})


@attack
def ignore_signals(place):
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                continue
    os.setsid() if os.getsid(0) != os.getpid() else None
    time.sleep(100_000)


@attack
def hold_the_pipes(place):
    """End, but leave stdout and stderr open with a child: who reads to the end waits for it."""
    subprocess.Popen(_sleeper(place), start_new_session=True)
    raise Contained("left a child with our stdout, which must be gone")


@attack
def stop_ourselves(place):
    os.kill(os.getpid(), signal.SIGSTOP)
    raise Contained("somebody let us go on")


@attack
def stop_the_parent(place):
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(100_000)


@attack
def kill_the_parent(place):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1)
    raise Contained("our parent is not missed")


@attack
def kill_all(place):
    os.kill(-1, signal.SIGKILL)
    raise Contained("killed all that we may")


@attack
def kill_init(place):
    """The first of the namespace: the zygote's, or the job's."""
    os.kill(1, signal.SIGKILL)
    time.sleep(0.5)
    raise Contained("init lives, or nobody misses it")


@attack
def signal_every_process(place):
    """By number, for who is not of our session: 1 is the first of its namespace, not ours."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGKILL):
        for pid in range(1, 400):
            if pid != os.getpid():
                try:
                    os.kill(pid, number)
                except OSError:
                    continue
    raise Contained("signalled all that we may")


@attack
def kill_the_worker(place):
    """By its number outside, which means another process or none in here."""
    os.kill(place.plan["victim"], signal.SIGKILL)
    return f"{place.plan['victim']} was there to be killed"


@attack
def crash(place):
    ctypes.string_at(0)


@attack
def abort(place):
    os.abort()


@attack
def lie_about_the_end(place):
    """Status 0 and nothing written."""
    sys.stdout.write("all went well")
    return None


@attack
def refuse_without_reason(place):
    """Status 3 means `unsupported.json` is there."""
    sys.exit(3)


@attack
def forged_refusal(place):
    """A refusal is stored and shown to others: its reasons are text, whatever they contain."""
    (place.out / "unsupported.json").write_text(
        '{"reasons": ["\\u001b[2Jerror: your key has expired\\nsend it to us"]}'
    )
    sys.exit(3)


@attack
def flood_of_reasons(place):
    reasons = ",".join(f'"{"r" * 1000}{n}"' for n in range(5000))
    (place.out / "unsupported.json").write_text(f'{{"reasons": [{reasons}]}}')
    sys.exit(3)


@attack
def change_the_clock_of_our_files(place):
    """Times outside of what a struct or an archive can hold."""
    written(place, {"m.c": relu(place, before="syntax error")})
    os.utime(place.out / "m.c", (2**40, 2**40))
    os.utime(place.out / "compiled.json", (-(2**40), -(2**40)))
