"""Work in flight: one action for all jobs that want the same, sent by fair share and window."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator

from scheduler.admission import Policy
from scheduler.at_hand import AtHand
from scheduler.deaths import DEATHS, as_begun
from scheduler.effects import Call, Effect, Key, Kill, Send
from scheduler.jobs import Job
from scheduler.meter import Meter, PoolNow
from scheduler.planning import Need
from scheduler.sending import kill_message, roll_call, task_message
from scheduler.suspects import Suspects
from scheduler.trail import Trail
from scheduler.wanted import Action, Pool
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.pool_messages import (
    TaskEnd,
    TaskStanding,
    TaskStatus,
    WorkerStanding,
)

_REMEMBERED = 10_000
_NO_END = frozenset({TaskStatus.KILLED, TaskStatus.RETRY, TaskStatus.SUSPECT})  # of the work
_UNSEEN_SENDINGS = 10  # of a task that no worker begins, as one that none can read
_UNWANTED_SECONDS = 30.0  # may what nobody wants go on while there are jobs to be planned
_FIRST_RETRY_SECONDS = 0.5
_MAX_RETRY_SECONDS = 30.0


class Actions:
    """All actions wanted, by pool. What has to be done in the world is appended to `effects`."""

    def __init__(
        self,
        policy: Policy,
        effects: list[Effect],
        meter: Meter,
        at_hand: AtHand,
        trail: Trail,
    ) -> None:
        """Begin with nothing wanted and no pool known."""
        self._policy = policy
        self._effects = effects
        self._meter = meter
        self._at_hand = at_hand
        self._trail = trail
        self._suspects = Suspects(policy.worker_seconds)
        self._send_from = 0.0
        self._sendings = 0
        self._actions: dict[str, Action] = {}
        self._retries: dict[str, Action] = {}
        self._over: OrderedDict[str, None] = OrderedDict()  # tasks that have ended lately
        self.pools: dict[str, Pool] = {}
        self.merged = 0
        self.resent = 0

    def __len__(self) -> int:
        return len(self._actions)

    def __contains__(self, action: str) -> bool:
        return action in self._actions

    def pool(self, name: str) -> Pool:
        """Return the pool called `name`, known or not yet."""
        if name not in self.pools:
            self.pools[name] = Pool(name, self._policy)
        return self.pools[name]

    def want(self, job: Job, needs: Iterable[Need]) -> None:
        """Have `job` wait for `needs`; what another job waits for already is not done twice."""
        groups: dict[str, list[str]] = {}
        for need in needs:
            action = self._actions.get(need.action)
            if action is None:
                action = self._actions[need.action] = Action(need)
            else:
                self.merged += 1
                self._meter.merged(job.tenant)
            action.waiters[job.key] = job
            self._trail.wanted(job, need)
            if action.sent is None and action.retry_at is None:
                groups.setdefault(action.need.pool, []).append(need.action)
        for name, group in groups.items():
            pool = self.pool(name)
            whole = pool.groups.setdefault(job.key, [])
            whole += group
            pool.queue.push(job.tenant, job.priority, job.key, len(whole))

    def leave(self, job: Job, actions: Iterable[str]) -> None:
        """Have `job` wait no more; what nobody else wants is dropped, or killed if it runs."""
        for digest in actions:
            action = self._actions.get(digest)
            if action is None or action.waiters.pop(job.key, None) is None:
                continue
            self._trail.left(job, digest)
            pool = self.pool(action.need.pool)
            if pool.groups.pop(job.key, None) is not None:
                pool.queue.discard(job.tenant, job.priority, job.key)
            if action.waiters:
                self._requeue(action)  # it may have been in the queue on this job's account alone
            elif action.sent is None:
                self._forget(digest)
            elif not action.killed:
                self._kill(action)

    def _requeue(self, action: Action) -> None:
        """Make sure an action that waits is in some waiter's group."""
        digest, pool = action.need.action, self.pool(action.need.pool)
        if action.sent is not None or action.retry_at is not None or digest in pool.ready:
            return
        if any(digest in pool.groups.get(key, ()) for key in action.waiters):
            return
        job = next(iter(action.waiters.values()))
        pool.groups.setdefault(job.key, []).append(digest)
        pool.queue.push(job.tenant, job.priority, job.key, len(pool.groups[job.key]))

    def _kill(self, action: Action) -> None:
        action.killed = True
        self._kill_task(action.need.pool, action.task_id, action.need.action)

    def _kill_task(self, pool: str, task_id: str, action: str) -> None:
        self._effects.append(Kill(pool, kill_message(task_id, action)))

    def kill_unwanted(self, now: float, all_planned: Callable[[], bool]) -> None:
        """Kill what workers do for nobody: the scheduler before us sent it, or its kill was lost.

        A job that is not planned yet may come to want it: that is waited for, but not for long.
        """
        for pool in self.pools.values():
            for worker in pool.workers.busy():
                digest = worker.action or ""
                if worker.told or digest in self._actions or worker.task in self._over:
                    continue
                if now - worker.since > _UNWANTED_SECONDS or all_planned():
                    worker.told = True
                    self._kill_task(pool.name, worker.task, digest)

    def _forget(self, digest: str) -> None:
        self._actions.pop(digest, None)
        self._retries.pop(digest, None)
        self._suspects.forget(digest)

    def activated(self, names: Iterable[str], now: float) -> None:
        """Begin as the active scheduler: what waited in the queues of pools has been dropped.

        Whoever was active before us may have sent what is running now. So nothing is sent for a
        moment, in which all workers are asked what they do; `names` are the pools there should be.
        """
        self._send_from = now + self._policy.settle_seconds
        for name in names:
            self._effects.append(Call(name, roll_call(name, now)))
        for pool in self.pools.values():
            for digest in sorted(pool.out):
                action = self._actions.get(digest)
                if action is not None and action.begun:
                    continue
                pool.out.discard(digest)
                if action is not None and action.waiters:
                    action.sent, action.killed = None, False
                    self._requeue(action)
                else:
                    self._forget(digest)

    def heard(self, standing: WorkerStanding, now: float) -> None:
        """Take a worker's heartbeat; what it does needs no sending, whoever sent it."""
        if standing.task_id in self._over:  # it comes by another queue than the task's end did
            standing = standing.model_copy(update={"action": None, "task_id": None})
        self._suspects.heard(standing.worker, now)
        pool = self.pool(standing.pool)
        pool.workers.heard(standing, now)
        if standing.leaving:  # in good order, so it has not died of what it was at
            self._suspects.left(standing.worker)
            for digest in pool.out:
                if (left := self._actions.get(digest)) is not None:
                    left.begun.pop(standing.worker, None)
            return
        action = self._of(standing.pool, standing.action or "")
        if action is not None:
            self._running(action, standing.task_id or "", now)
            action.begun.setdefault(standing.worker, as_begun(standing))

    def progressed(self, standing: TaskStanding, now: float) -> Action | None:
        """Note that a worker is at it; return the action if somebody wants it."""
        action = self._of(standing.pool, standing.action)
        if action is None:
            return None
        if action.suspected is not None and standing.task_id == action.task_id:
            action.begun[standing.worker] = standing  # it comes late, by another queue
        if standing.task_id in self._over:
            return None
        self._running(action, standing.task_id, now)
        action.begun[standing.worker] = standing
        return action

    def _of(self, pool: str, digest: str) -> Action | None:
        """Return the action if it is wanted of `pool`; what others say of it counts for nothing."""
        action = self._actions.get(digest)
        return action if action is not None and action.need.pool == pool else None

    def _running(self, action: Action, task_id: str, now: float) -> None:
        action.seen = now
        if action.sent is None and action.retry_at is None:  # sent before we were started, then
            action.sent, action.task_id = now, task_id
            self.pool(action.need.pool).out.add(action.need.action)
        if action.killed and not action.waiters:  # who has it now has not heard of it
            self._kill(action)

    def ended(self, end: TaskEnd, now: float) -> Action | None:
        """Take the end of a task; return the action if it is over for those who want it."""
        digest, status = end.action, end.status
        pool = self.pool(end.pool)
        pool.workers.finished(end.worker, digest)
        self._over[end.task_id] = None
        while len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)
        action = self._of(end.pool, digest)
        if action is None:
            return None
        older = action.sent is None or end.task_id != action.task_id
        if older and status in _NO_END:  # of the sending that counts there is more to come
            return None
        pool.out.discard(digest)
        if status is TaskStatus.DONE and end.seconds > 0:
            pool.took(end.seconds)
        if not action.waiters:
            self._forget(digest)
            return None
        if status is TaskStatus.SUSPECT:
            self._suspects.add(action, now)
            return None
        again = status is TaskStatus.RETRY and action.tries <= self._policy.retries
        if again or status is TaskStatus.KILLED:
            self._again(action, status, now)
            return None
        self._forget(digest)
        return action

    def _again(self, action: Action, status: TaskStatus, now: float) -> None:
        action.sent, action.killed = None, False
        if status is TaskStatus.KILLED:  # somebody came to want it while it was being killed
            self._requeue(action)
            return
        wait = min(_FIRST_RETRY_SECONDS * 2 ** (action.tries - 1), _MAX_RETRY_SECONDS)
        action.retry_at = now + wait
        self._retries[action.need.action] = action

    def tick(self, now: float) -> list[TaskEnd]:
        """Retry what is due, forget silent workers, send again what no worker has seen.

        Return the ends of tasks that were found to kill their workers, or that none ever begins.
        """
        lost = []
        for action in [a for a in self._retries.values() if (a.retry_at or 0.0) <= now]:
            del self._retries[action.need.action]
            action.retry_at = None
            self._requeue(action)
        for pool in self.pools.values():
            for name, action_of in pool.workers.forget_silent(now):
                self._suspects.died(name, action_of, now)
            if pool.workers.idle():
                lost += [self._resend_unseen(pool, digest, now) for digest in [*pool.out]]
        judged = []
        for action in self._suspects.due(self.pools.values()):
            with self._at_hand.dealing(*action.waiters):
                judged.append(self._judged(action, now))
        return [end for end in (*lost, *judged) if end is not None]

    def _judged(self, action: Action, now: float) -> TaskEnd | None:
        """Return the end of an action that has killed its workers; have another sent again."""
        end = self._suspects.judge(action, self.pool(action.need.pool), now)
        if not action.waiters:
            self._forget(action.need.action)
            return None
        if end is None:
            action.sent, action.killed = None, False
            self._requeue(action)
        return end

    def _resend_unseen(self, pool: Pool, digest: str, now: float) -> TaskEnd | None:
        """Send again what is lost; return its end if that has been done often enough."""
        action = self._actions.get(digest)
        if action is None:
            pool.out.discard(digest)
            return None
        unseen = now - action.seen > self._policy.unseen_seconds
        if not unseen or pool.workers.task_of(digest) is not None:
            return None
        pool.out.discard(digest)
        if not action.waiters:
            self._forget(digest)
            return None
        self.resent += 1
        action.unseen += 1
        if action.unseen > _UNSEEN_SENDINGS:
            reason = (
                f"it was sent {action.unseen} times and idle workers of {pool.name} never began"
            )
            return TaskEnd(
                task_id=action.task_id,
                action=digest,
                pool=pool.name,
                worker="unknown",
                status=TaskStatus.FAILED,
                reasons=(f"{reason} it: see the dead letters of the pool",),
            )
        action.sent, action.killed = None, False
        self._requeue(action)
        return None

    def pump(self, now: float) -> None:
        """Send as much as the windows allow; what a worker says it does already is not sent.

        A pool without workers gets one task, so that whoever starts workers by the length of its
        queue sees that there is something to do.
        """
        if now < self._send_from:
            return
        for pool in self.pools.values():
            window = max(pool.workers.count(), 1) * self._policy.per_worker
            while len(pool.out) < window:
                action = self._next(pool, now)
                if action is None:
                    break
                with self._at_hand.dealing(*action.waiters):
                    self._send(pool, action, now)

    def _next(self, pool: Pool, now: float) -> Action | None:
        while True:
            while pool.ready:
                action = self._actions.get(pool.ready.popleft())
                if action is None or action.sent is not None or action.retry_at is not None:
                    continue
                if (task := pool.workers.task_of(action.need.action)) is not None:
                    self._running(action, task, now)  # sent by the scheduler before us
                    continue
                return action
            key = pool.queue.pop()
            if key is None:
                return None
            pool.ready.extend(pool.groups.pop(key, ()))

    def _send(self, pool: Pool, action: Action, now: float) -> None:
        self._sendings += 1
        action.sent = action.seen = now
        action.tries += 1
        facts = f"{action.need.action} {now!r} {self._sendings} {id(self)}"
        action.task_id = sha256(facts.encode())[:32]
        action.begun = {}
        action.patience = 1 if action.suspect else DEATHS
        pool.out.add(action.need.action)
        sent = self._trail.sent(action)
        message = task_message(action, self._policy.build_seconds, sent)
        self._effects.append(Send(pool.name, message))

    def without_workers(self, digest: str) -> bool:
        """Return whether there is nobody now who could do an action."""
        action = self._actions.get(digest)
        return action is not None and not self.pool(action.need.pool).workers.count()

    def has_work(self, pool: str) -> bool:
        """Return whether anything is wanted of `pool`; takes time as `now` does."""
        return any(action.need.pool == pool for action in self._actions.values())

    def get(self, digest: str) -> Action | None:
        """Return an action that is wanted."""
        return self._actions.get(digest)

    def now(self, now: float) -> dict[str, PoolNow]:
        """Return how each pool stands; takes time in proportion to the actions wanted."""
        waiting = Counter(a.need.pool for a in self._actions.values() if a.sent is None)
        oldest: dict[str, float] = {}
        for action in self._actions.values():
            pool = action.need.pool
            oldest[pool] = max(oldest.get(pool, 0.0), action.idle(now))
        return {
            name: PoolNow(
                pool.workers.count(),
                pool.workers.count() - pool.workers.idle(),
                waiting[name],
                len(pool.out),
                oldest.get(name, 0.0),
            )
            for name, pool in self.pools.items()
        }

    def waiting_before(self, job: Job, pool: Pool) -> int:
        """Return how many of the tenant's own jobs go before `job` in `pool`."""
        return _index(pool.queue.waiting(job.tenant), job.key)


def _index(keys: Iterator[Key], key: Key) -> int:
    for position, each in enumerate(keys):
        if each == key:
            return position
    return 0
