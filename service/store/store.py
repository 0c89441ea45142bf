"""The store: the one object that reads and writes the database, from any thread.

Each method is one transaction: it happens whole or not at all. Besides the errors its docstring
names, any method may raise `StorageFull` or `Unavailable` (see `service.store.errors`).
"""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager

from dsl.candidate import Proposal, Stage
from dsl.outcome import Outcome
from search.space import Point
from service.resources import Curve, Event, Job, JobState, Page, RuleEntry, Standing, Trial
from service.store import events, jobs, queue, recording, rules, tokens, trials
from service.store.database import Database
from service.store.jobs import Spec
from service.store.query import Query
from service.store.queue import Action, Claim
from service.store.tokens import Token
from service.store.trials import History

MAX_KEY = 255
"""Characters of an idempotency key."""


class Store:
    """Everything the service knows, in SQLite or PostgreSQL. Thread-safe.

    Args:
        url: an SQLAlchemy URL, `sqlite:///FILE` or `postgresql+psycopg://…`. One process owns an
            SQLite file; a PostgreSQL database may have many.

    Raises:
        ValueError: another kind of URL.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.queued = threading.Event()
        """Set when this process has queued a job; cleared by whoever waits for that."""

    # The database

    def migrate(self) -> None:
        """Bring the schema to this version's and enter the catalogue's rules.

        Raises:
            SchemaError: the database was written by a newer version, or by another program.
        """
        self._database.migrate()
        with self._database.write() as transaction:
            rules.enter_catalogue(transaction)

    def check(self) -> None:
        """Raise SchemaError unless the schema is the one this version was written for."""
        self._database.check()

    def fresh(self) -> bool:
        """Whether the database has no schema yet."""
        return self._database.fresh()

    def owned(self) -> AbstractContextManager[None]:
        """Own an SQLite file until the block is left; a PostgreSQL database may have many users.

        Raises:
            Owned: another process owns the file.
        """
        return self._database.owned()

    def ping(self) -> None:
        """Raise Unavailable unless the database answers."""
        self._database.ping()

    def close(self) -> None:
        """Close the connections; the store can be used no more."""
        self._database.close()

    # Jobs

    def create_job(self, spec: Spec, *, idempotency_key: str | None = None) -> tuple[Job, bool]:
        """Queue a job; the second value says whether it is new.

        The same key with the same body within 24 hours gives the same job and False.

        Raises:
            IdempotencyConflict: the key came with another body before.
            ValueError: the key is not 1 to 255 printable ASCII characters.
        """
        key = idempotency_key
        if key is not None and not (
            0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()
        ):
            raise ValueError(
                f"the idempotency key {key[:80]!r} must be 1 to {MAX_KEY} printable ASCII "
                "characters, say a UUID"
            )
        with self._database.write() as transaction:
            created = jobs.create(transaction, spec, key)
        self.queued.set()
        return created

    def job(self, job_id: str) -> Job:
        """Return a job, or raise NotFound."""
        with self._database.read() as connection:
            return jobs.get(connection, job_id)

    def jobs(self, query: Query | None = None) -> Page[Job]:
        """Return a page of jobs, the newest first unless asked otherwise.

        Raises:
            QueryError: filter, order or token is not understood.
        """
        with self._database.read() as connection:
            return jobs.page(connection, query or Query())

    def job_states(self) -> dict[JobState, int]:
        """Return how many jobs are in each state (states with none are left out)."""
        with self._database.read() as connection:
            return jobs.states(connection)

    def update_job(
        self,
        job_id: str,
        *,
        name: str | None = None,
        notes: str | None = None,
        budget: int | None = None,
    ) -> Job:
        """Change what is given. The budget can change while the job is QUEUED or PAUSED.

        Raises:
            NotFound: there is no such job.
            StateConflict: the budget of a running or ended job.
            ValueError: (pydantic's ValidationError) the job's body would not be valid.
        """
        with self._database.write() as transaction:
            return jobs.change(transaction, job_id, name, notes, budget)

    def enqueue(self, job_id: str, points: Sequence[Point]) -> Job:
        """Add points for a tune job to try next; one that runs hears of them in a second or two.

        Raises:
            NotFound: there is no such job.
            StateConflict: the job has ended, or is being cancelled.
            ValueError: (pydantic's ValidationError) they are too many, or the job no tune job.
        """
        with self._database.write() as transaction:
            return jobs.enqueue(transaction, job_id, points)

    def points(self, job_id: str) -> tuple[Point, ...]:
        """Return all points that a tune job was ever given, in order."""
        with self._database.read() as connection:
            return jobs.points(connection, job_id)

    def delete_job(self, job_id: str) -> None:
        """Delete an ended job with its trials, curves and events.

        Raises:
            NotFound: there is no such job.
            StateConflict: the job has not ended.
        """
        with self._database.write() as transaction:
            jobs.remove(transaction, job_id)

    def clone_job(self, job_id: str, name: str | None = None) -> Job:
        """Queue a new job with the same body, or raise NotFound."""
        with self._database.write() as transaction:
            return jobs.clone(transaction, job_id, name)

    def request(self, job_id: str, action: Action) -> Job:
        """Pause, resume or cancel a job; what already holds or is under way changes nothing.

        A job that nobody runs changes at once; a running one becomes PAUSING or CANCELLING until
        its dispatcher has stopped it.

        Raises:
            NotFound: there is no such job.
            StateConflict: the action does not fit the job's state.
        """
        with self._database.write() as transaction:
            job = queue.request(transaction, job_id, action)
        if job.state is JobState.QUEUED:
            self.queued.set()
        return job

    # Trials and events

    def trials(self, job_id: str, query: Query | None = None) -> Page[Trial]:
        """Return a page of a job's trials, by number unless asked otherwise.

        Raises:
            NotFound: there is no such job.
            QueryError: filter, order or token is not understood.
        """
        with self._database.read() as connection:
            return trials.page(connection, job_id, query or Query())

    def trial(self, job_id: str, number: int) -> Trial:
        """Return one trial, or raise NotFound."""
        with self._database.read() as connection:
            return trials.get(connection, job_id, number)

    def recorded(self, job_id: str, number: int) -> tuple[Proposal, Outcome | None]:
        """Return a trial's proposal and its outcome, None if none is known, or raise NotFound."""
        with self._database.read() as connection:
            return trials.recorded(connection, job_id, number)

    def best(
        self, job_id: str, count: int = 1, *, stage: Stage = Stage.SEARCH
    ) -> tuple[Trial, ...]:
        """Return the best COMPLETE trials of a stage, the best first, or raise NotFound."""
        with self._database.read() as connection:
            return trials.best(connection, job_id, count, stage)

    def passed_over(self, job_id: str) -> int:
        """Return how many near-copies of what a job compared it passed over, or raise NotFound."""
        with self._database.read() as connection:
            return trials.passed_over(connection, job_id)

    def curves(
        self, job_id: str, *, numbers: Sequence[int] | None = None, limit: int = 50
    ) -> tuple[Curve, ...]:
        """Return the curves of these trials, or of the best ones, or raise NotFound.

        At most `limit` curves, in order of numbers; trials without a curve are left out.
        """
        with self._database.read() as connection:
            return trials.curves(connection, job_id, numbers, limit)

    def events(self, job_id: str, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """Return a job's events with `seq` above `after`, in order, or raise NotFound."""
        with self._database.read() as connection:
            jobs.row_of(connection, job_id)
            return events.read(connection, job_id, after, limit)

    # Rules

    def standings(self, query: Query | None = None, *, task: str | None = None) -> Page[Standing]:
        """Return a page of the leaderboard: each rule's best-attested evaluation on each task.

        Comparisons come before searches, better values first, unless asked otherwise.

        Raises:
            QueryError: filter, order or token is not understood.
        """
        with self._database.read() as connection:
            return rules.page(connection, query or Query(), task)

    def rule(self, rule_id: str) -> RuleEntry:
        """Return a rule with everything known of it, or raise NotFound."""
        with self._database.read() as connection:
            return rules.get(connection, rule_id)

    def add_rule(self, text: str, *, label: str | None = None, origin: str = "manual") -> RuleEntry:
        """Enter a rule; one that is known already is returned as it is.

        Raises:
            RuleError: the text is not a rule.
        """
        with self._database.write() as transaction:
            return rules.add(transaction, text, label, origin)

    # The dispatcher's side: every write is fenced by the claim's epoch

    def claim(self, owner: str, lease_seconds: float) -> Claim | None:
        """Take a waiting job, or one whose dispatcher fell silent; None if there is none."""
        with self._database.write() as transaction:
            return queue.claim(transaction, owner, lease_seconds)

    def renew(self, claim: Claim, lease_seconds: float) -> JobState:
        """Keep a claim; PAUSING and CANCELLING ask for the run to be stopped.

        Raises:
            LeaseLost: the claim is over.
        """
        with self._database.write() as transaction:
            return queue.renew(transaction, claim, lease_seconds)

    def expire(self, owner: str) -> int:
        """End the leases of an owner's earlier life, at its start; return how many."""
        with self._database.write() as transaction:
            return queue.expire(transaction, owner)

    def record_asked(self, claim: Claim, proposals: Sequence[Proposal]) -> None:
        """Write that proposals have gone to a worker, new ones and ones asked again.

        Raises:
            LeaseLost: the claim is over.
        """
        with self._database.write() as transaction:
            recording.asked(transaction, claim, proposals)

    def record_told(
        self, claim: Claim, outcomes: Sequence[Outcome], snapshot: bytes | None
    ) -> None:
        """Write what came of proposals; a trial's first outcome stands, a second changes nothing.

        Args:
            claim: the right to write.
            outcomes: COMPLETE, PRUNED or INFEASIBLE.
            snapshot: the strategy's state after them; None keeps the one before.

        Raises:
            LeaseLost: the claim is over.
            NotFound: a number was never asked.
            ValueError: an outcome has another state, or is COMPLETE without the objective.
        """
        with self._database.write() as transaction:
            recording.told(transaction, claim, outcomes, snapshot)

    def record_lost(self, claim: Claim, numbers: Sequence[int], error: str) -> tuple[int, ...]:
        """Write that trials were lost with their worker; return those that now have FAILED.

        A trial goes back to QUEUED until it was lost 3 times.

        Raises:
            LeaseLost: the claim is over.
            NotFound: a number was never asked.
        """
        with self._database.write() as transaction:
            return recording.lost(transaction, claim, numbers, error)

    def log(self, claim: Claim, sentence: str) -> None:
        """Write a sentence into the job's events, or raise LeaseLost."""
        with self._database.write() as transaction:
            queue.log(transaction, claim, sentence)

    def finish(self, claim: Claim, state: JobState, error: str | None = None) -> None:
        """End the claim: SUCCEEDED, FAILED, PAUSED, CANCELLED, or QUEUED to give the job back.

        Open trials wait for the next run, or are CANCELLED where the job has ended. A job that
        got points which no trial has tried does not succeed yet, but waits to go on with them.

        Raises:
            LeaseLost: the claim is over.
            ValueError: another state.
        """
        with self._database.write() as transaction:
            queue.finish(transaction, claim, state, error)

    def history(self, job_id: str) -> History:
        """Return all that was asked of a job and what came of it, or raise NotFound."""
        with self._database.read() as connection:
            return trials.history(connection, job_id)

    # Tokens

    def create_token(self, name: str) -> str:
        """Make a bearer token and return its secret, which nobody can read again.

        Raises:
            ValueError: the name has other characters than letters, digits and `_ . -`.
            StateConflict: a token of this name is in use.
        """
        with self._database.write() as transaction:
            return tokens.create(transaction, name)

    def tokens(self) -> tuple[Token, ...]:
        """Return every token, revoked ones too, the oldest first; never their secrets."""
        with self._database.read() as connection:
            return tokens.listed(connection)

    def tokens_exist(self) -> bool:
        """Whether a token was ever made; then every call needs one."""
        with self._database.read() as connection:
            return tokens.exist(connection)

    def revoke_token(self, name: str) -> None:
        """End a token, or raise NotFound."""
        with self._database.write() as transaction:
            tokens.revoke(transaction, name)

    def check_token(self, secret: str) -> bool:
        """Whether this is the secret of a token that holds."""
        with self._database.read() as connection:
            token = tokens.find(connection, secret)
        if token is None:
            return False
        if tokens.stale(token):
            with self._database.write() as transaction:
                tokens.use(transaction, token.name)
        return True
