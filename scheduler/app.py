"""The composition root: builds every part once per process. Nobody else builds a client."""

import logging
import os
from functools import cache, cached_property

from scheduler.api.backfill import Backfills
from scheduler.api.coming import ComingRuns
from scheduler.api.control import Controls
from scheduler.api.execution_list import ExecutionList
from scheduler.api.execution_reader import ExecutionReader
from scheduler.api.executions import Executions
from scheduler.api.health import Health
from scheduler.api.idempotency import Idempotency
from scheduler.api.job_changes import JobChanges
from scheduler.api.job_list import JobList
from scheduler.api.job_totals import JobTotals
from scheduler.api.jobs import Jobs
from scheduler.api.keys import Keys
from scheduler.api.previews import Previews
from scheduler.api.runnable import Runnable
from scheduler.api.schedules import Schedules
from scheduler.api.status import Status
from scheduler.api.step_output import StepOutputs
from scheduler.api.timezones import Timezones
from scheduler.api.validation import Validation
from scheduler.clock import Clock, SystemClock
from scheduler.dispatch.control import Control
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.run_index import RunIndex
from scheduler.execution.engine import Engine
from scheduler.execution.parts import ExecutionParts
from scheduler.execution.relay import Relay
from scheduler.execution.rounds import Rounds
from scheduler.execution.store import ExecutionStore
from scheduler.execution.upkeep.upkeep import Upkeep
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.schedule.due_rows import DueRows
from scheduler.schedule.heartbeat import Heartbeat
from scheduler.schedule.tick import Tick
from scheduler.schedule.wakes import Wakes
from scheduler.schedule.zone_data import ZoneData
from scheduler.security.audit import AuditLog
from scheduler.security.authentication import Authenticator
from scheduler.security.encryption import Cipher
from scheduler.security.keys import KeyStore
from scheduler.security.redaction import RedactingFilter, Redactor
from scheduler.settings import Settings
from scheduler.storage.account import Storage, TransportFactory
from scheduler.telemetry import get_logger
from steps.registry import Registry

log = get_logger(__name__)


class App:
    """One scheduler: its parts, each made at its first use. Tests hand in clock and transport."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        transport: TransportFactory | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self._started = self.clock.now()
        self.storage = Storage(settings, transport=transport)
        self.registry = registry or Registry.discover()
        self.redactor = Redactor.of(settings)
        self.cipher = Cipher(settings.encryption_keys)
        self.audit = AuditLog(self.storage.audit, self.clock)
        self.dispatcher = Dispatcher(self.storage, settings, self.clock)
        self.runs = RunIndex(self.storage.zones)
        self.catalog = Catalog(self.storage)
        self.definitions = Definitions(self.storage.definitions, self.cipher, self.clock)
        self.heartbeat = Heartbeat(self.storage.control)
        self.store = ExecutionStore(self.storage.executions)
        self.control = Control(self.storage, self.dispatcher, self.clock)
        self._due_rows = DueRows(self.storage.jobs, self.clock)
        self.tick = Tick(
            self._due_rows,
            self.runs,
            self.dispatcher,
            self.control,
            settings,
            self.clock,
        )

    @cached_property
    def authenticator(self) -> Authenticator:
        """Knows the callers."""
        return Authenticator(self._key_store, admin_key=self.settings.admin_key, clock=self.clock)

    @cached_property
    def _key_store(self) -> KeyStore:
        return KeyStore(self.storage.keys, pepper=self.settings.key_pepper, clock=self.clock)

    @cached_property
    def keys(self) -> Keys:
        """The use cases of API keys."""
        return Keys(self._key_store, audit=self.audit, clock=self.clock, registry=self.registry)

    @cached_property
    def jobs(self) -> Jobs:
        """The use cases of stored jobs."""
        return Jobs(
            catalog=self.catalog,
            definitions=self.definitions,
            changes=self._job_changes,
            cancellation=self._parts.cancellation,
            eraser=self._parts.eraser,
            registry=self.registry,
            audit=self.audit,
            clock=self.clock,
        )

    @cached_property
    def _job_changes(self) -> JobChanges:
        return JobChanges(
            catalog=self.catalog,
            definitions=self.definitions,
            dispatcher=self.dispatcher,
            control=self.control,
            tick=self.tick,
            audit=self.audit,
            idempotency=self.idempotency,
            settings=self.settings,
            clock=self.clock,
        )

    @cached_property
    def job_list(self) -> JobList:
        """The list of jobs."""
        return JobList(self.catalog)

    @cached_property
    def previews(self) -> Previews:
        """The use case of looking at a schedule before a job has it."""
        return Previews(self.clock)

    @cached_property
    def validation(self) -> Validation:
        """The use case of checking a job without storing it."""
        return Validation(
            catalog=self.catalog,
            registry=self.registry,
            settings=self.settings,
            clock=self.clock,
        )

    @cached_property
    def timezones(self) -> Timezones:
        """The time zones."""
        return Timezones(self.clock)

    @cached_property
    def schedules(self) -> Schedules:
        """The use case of scheduling a job."""
        return Schedules(self.jobs, self._job_changes, self.clock)

    @cached_property
    def executions(self) -> Executions:
        """The use cases of executions."""
        return Executions(
            definitions=self.definitions,
            runnable=self._runnable,
            reader=self.execution_reader,
            cancellation=self._parts.cancellation,
            eraser=self._parts.eraser,
            store=self.store,
            starts=self._parts.manual,
            idempotency=self.idempotency,
            audit=self.audit,
            clock=self.clock,
        )

    @cached_property
    def execution_reader(self) -> ExecutionReader:
        """Reads executions, those to come too."""
        coming = ComingRuns(self.catalog, self.definitions, self.dispatcher, self.runs, self.clock)
        return ExecutionReader(self.definitions, coming, self.store, self.clock)

    @cached_property
    def execution_list(self) -> ExecutionList:
        """Lists executions."""
        return ExecutionList(
            executions=self.storage.executions,
            zones=self.storage.zones,
            days=self.storage.days,
            totals=JobTotals(self._parts.totals, self._parts.pulses),
            store=self.store,
            catalog=self.catalog,
            dispatcher=self.dispatcher,
            clock=self.clock,
        )

    @cached_property
    def step_outputs(self) -> StepOutputs:
        """Reads what steps have left behind."""
        return StepOutputs(self.store, self.storage.outputs)

    @cached_property
    def idempotency(self) -> Idempotency:
        """What calls with an `Idempotency-Key` have reserved."""
        return Idempotency(self.storage.control, self.clock)

    @cached_property
    def _runnable(self) -> Runnable:
        return Runnable(self.catalog, self.definitions, self.registry, self.clock)

    @cached_property
    def backfills(self) -> Backfills:
        """The use case of making up for missed runs."""
        return Backfills(
            runnable=self._runnable,
            catalog=self.catalog,
            store=self.store,
            runs=self.runs,
            starts=self._parts.manual,
            dispatcher=self.dispatcher,
            audit=self.audit,
            clock=self.clock,
        )

    @cached_property
    def controls(self) -> Controls:
        """The use cases of the control word."""
        return Controls(self.control, self.tick, self.upkeep, self.audit)

    @cached_property
    def status(self) -> Status:
        """The status of all zones."""
        return Status(
            storage=self.storage,
            dispatcher=self.dispatcher,
            pulses=self._parts.pulses,
            settings=self.settings,
            clock=self.clock,
            started=self._started,
        )

    @cached_property
    def health(self) -> Health:
        """The health checks."""
        return Health(
            heartbeat=self.heartbeat,
            registry=self.registry,
            cipher=self.cipher,
            settings=self.settings,
            clock=self.clock,
            started=self._started,
        )

    @cached_property
    def _parts(self) -> ExecutionParts:
        return ExecutionParts(
            storage=self.storage,
            settings=self.settings,
            clock=self.clock,
            registry=self.registry,
            redactor=self.redactor,
            catalog=self.catalog,
            definitions=self.definitions,
            dispatcher=self.dispatcher,
            runs=self.runs,
            store=self.store,
            control=self.control,
            tick=self.tick,
        )

    @property
    def engine(self) -> Engine:
        """Handles the messages of the zones' queues."""
        return self._parts.engine

    @property
    def relay(self) -> Relay:
        """Handles the messages of zones without a trigger."""
        return self._parts.relay

    @property
    def upkeep(self) -> Upkeep:
        """Finds what a crash left lying."""
        return self._parts.upkeep

    @cached_property
    def _rounds(self) -> Rounds:
        return Rounds(
            tick=self.tick,
            wakes=Wakes(self.storage, self.dispatcher, self.settings, self.clock),
            relay=self.relay,
            upkeep=self.upkeep,
            rollup=self._parts.rollup,
            retention=self._parts.retention,
            zone_data=ZoneData(self.storage.jobs, self._due_rows, self.storage.control, self.clock),
            heartbeat=self.heartbeat,
            clock=self.clock,
        )

    async def run_tick(self) -> None:
        """What the timer asks for each minute: the due runs, the sweep of relayed zones, a beat.

        Raises:
            StorageUnavailable: storage cannot be reached; the next tick goes on.
        """
        await self._rounds.tick()

    async def run_upkeep(self) -> None:
        """What the timer asks for thirty seconds later: unfinished runs, and all that is old.

        Raises:
            StorageUnavailable: storage cannot be reached; the next call goes on.
        """
        await self._rounds.upkeep()

    async def close(self) -> None:
        """Closes what is open: pools, threads, connections."""
        await self.registry.close()
        await self.storage.close()


@cache
def get_app() -> App:
    """This process's app.

    Raises:
        Misconfigured: a setting is missing or wrong.
    """
    app = App(Settings.load(os.environ))
    # The SDK logs every request with all its headers, which would cost more than the work itself.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter(app.redactor))
    return app
