"""The parts that work on executions, wired together; each made at its first use."""

from datetime import timedelta
from functools import cached_property

from scheduler.clock import Clock
from scheduler.dispatch.control import Control
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.queue_names import relay_queue_name
from scheduler.dispatch.run_index import RunIndex
from scheduler.execution.admission.admission import Admission
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.attempts.attempt import Attempts
from scheduler.execution.attempts.calls import StepCalls
from scheduler.execution.attempts.outputs import Outputs
from scheduler.execution.attempts.published import PublishedValues
from scheduler.execution.cancel import Cancellation
from scheduler.execution.claims import Claims
from scheduler.execution.engine import Engine
from scheduler.execution.followers import Followers
from scheduler.execution.history.days import DayLists
from scheduler.execution.history.erasing import Eraser
from scheduler.execution.history.retention import Retention
from scheduler.execution.history.rollup import Rollup
from scheduler.execution.history.totals import TotalsTable
from scheduler.execution.history.unused_definitions import UnusedDefinitions
from scheduler.execution.receive import StepReceiver
from scheduler.execution.relay import Relay
from scheduler.execution.settle import Settlement
from scheduler.execution.starting.arrivals import Arrivals
from scheduler.execution.starting.manual import ManualStarts
from scheduler.execution.starting.overlap import OverlapRule
from scheduler.execution.starting.standby import Standby
from scheduler.execution.starting.start import Starter
from scheduler.execution.store import ExecutionStore
from scheduler.execution.upkeep.aside import Aside
from scheduler.execution.upkeep.failures import Failures
from scheduler.execution.upkeep.given_up import GivenUp
from scheduler.execution.upkeep.places import Places
from scheduler.execution.upkeep.poison import PoisonWatch
from scheduler.execution.upkeep.pulse import Pulses
from scheduler.execution.upkeep.runs import RunUpkeep
from scheduler.execution.upkeep.upkeep import Upkeep
from scheduler.execution.upkeep.zones import ZoneUpkeep
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.schedule.tick import Tick
from scheduler.security.redaction import Redactor
from scheduler.settings import Settings
from scheduler.storage.account import Storage
from steps.registry import Registry


class ExecutionParts:
    """Engine, relay and upkeep, and what they share. It builds no client."""

    def __init__(
        self,
        *,
        storage: Storage,
        settings: Settings,
        clock: Clock,
        registry: Registry,
        redactor: Redactor,
        catalog: Catalog,
        definitions: Definitions,
        dispatcher: Dispatcher,
        runs: RunIndex,
        store: ExecutionStore,
        control: Control,
        tick: Tick,
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._clock = clock
        self._registry = registry
        self._redactor = redactor
        self._catalog = catalog
        self._definitions = definitions
        self._dispatcher = dispatcher
        self._runs = runs
        self._store = store
        self._control = control
        self._tick = tick

    @cached_property
    def _holdings(self) -> Holdings:
        return Holdings(self._storage.zones, self._clock)

    @cached_property
    def _admission(self) -> Admission:
        return Admission(self._storage.zones, self._holdings, self._settings, self._clock)

    @cached_property
    def _claims(self) -> Claims:
        return Claims(self._store, self._settings, self._clock)

    @cached_property
    def _overlap(self) -> OverlapRule:
        return OverlapRule(self._store)

    @cached_property
    def _settlement(self) -> Settlement:
        return Settlement(
            self._store,
            self._overlap,
            self._admission,
            self._holdings,
            self._runs,
            self._days,
            self._dispatcher,
            self._clock,
        )

    @cached_property
    def _followers(self) -> Followers:
        return Followers(
            store=self._store,
            holdings=self._holdings,
            dispatcher=self._dispatcher,
            settlement=self._settlement,
            settings=self._settings,
            clock=self._clock,
        )

    @cached_property
    def _standby(self) -> Standby:
        return Standby(
            catalog=self._catalog,
            definitions=self._definitions,
            store=self._store,
            runs=self._runs,
            holdings=self._holdings,
            settlement=self._settlement,
            clock=self._clock,
        )

    @cached_property
    def _starter(self) -> Starter:
        return Starter(
            store=self._store,
            runs=self._runs,
            arrivals=Arrivals(
                self._catalog, self._definitions, self._store, self._overlap, self._clock
            ),
            definitions=self._definitions,
            overlap=self._overlap,
            admission=self._admission,
            holdings=self._holdings,
            standby=self._standby,
            claims=self._claims,
            settlement=self._settlement,
            followers=self._followers,
            dispatcher=self._dispatcher,
            clock=self._clock,
        )

    @cached_property
    def _failures(self) -> Failures:
        storage = self._storage
        return Failures(storage.zones, storage.executions, self._redactor, self._clock)

    @cached_property
    def engine(self) -> Engine:
        """Handles the messages of the zones' queues."""
        return Engine(
            starter=self._starter,
            receiver=StepReceiver(
                store=self._store,
                runs=self._runs,
                definitions=self._definitions,
                claims=self._claims,
                starter=self._starter,
                followers=self._followers,
                settlement=self._settlement,
                dispatcher=self._dispatcher,
                settings=self._settings,
                clock=self._clock,
            ),
            attempts=Attempts(
                StepCalls(self._registry, PublishedValues(self._store), self._clock),
                Outputs(self._storage.outputs, self._redactor),
                self._redactor,
                self._settings,
                self._clock,
            ),
            claims=self._claims,
            followers=self._followers,
            dispatcher=self._dispatcher,
            failures=self._failures,
            store=self._store,
            queues=self._storage.queues,
            settings=self._settings,
            clock=self._clock,
        )

    @cached_property
    def manual(self) -> ManualStarts:
        """Starts runs on request."""
        return ManualStarts(
            runs=self._runs,
            store=self._store,
            overlap=self._overlap,
            dispatcher=self._dispatcher,
            control=self._control,
            clock=self._clock,
        )

    @cached_property
    def cancellation(self) -> Cancellation:
        """Cancels executions."""
        return Cancellation(
            self._store,
            self._runs,
            self._definitions,
            self._followers,
            self._settlement,
            self._dispatcher,
            self._settings,
            self._clock,
        )

    @cached_property
    def eraser(self) -> Eraser:
        """Erases executions."""
        return Eraser(
            store=self._store,
            executions=self._storage.executions,
            days=self._days,
            outputs=self._storage.outputs,
            unused=self._unused_definitions,
            totals=self.totals,
            settlement=self._settlement,
            runs=self._runs,
            dispatcher=self._dispatcher,
            catalog=self._catalog,
            clock=self._clock,
        )

    @cached_property
    def _days(self) -> DayLists:
        return DayLists(self._storage.days)

    @cached_property
    def _unused_definitions(self) -> UnusedDefinitions:
        return UnusedDefinitions(
            self._definitions, self._storage.executions, self._catalog, self._clock
        )

    @cached_property
    def totals(self) -> TotalsTable:
        """What the executions of each job come to."""
        return TotalsTable(self._storage.stats)

    @cached_property
    def rollup(self) -> Rollup:
        """Brings the totals up to date."""
        return Rollup(
            days=self._storage.days, totals=self.totals, pulses=self.pulses, clock=self._clock
        )

    @cached_property
    def retention(self) -> Retention:
        """Erases what is too old."""
        return Retention(
            days=self._storage.days,
            store=self._store,
            eraser=self.eraser,
            unused=self._unused_definitions,
            pulses=self.pulses,
            control=self._storage.control,
            keep=timedelta(days=self._settings.retention_days),
            clock=self._clock,
        )

    @cached_property
    def relay(self) -> Relay:
        """Handles the messages of zones without a trigger."""
        return Relay(
            self.engine, self._tick, self._storage.queues, self._dispatcher, self._settings
        )

    @cached_property
    def pulses(self) -> Pulses:
        """The control word, and when tick and upkeep last ran."""
        return Pulses(self._storage.control)

    @cached_property
    def upkeep(self) -> Upkeep:
        """Finds what a crash left lying."""
        return Upkeep(
            zones=self._zone_upkeep,
            poison=self._poison,
            pulses=self.pulses,
            dispatcher=self._dispatcher,
            clock=self._clock,
        )

    @cached_property
    def _poison(self) -> PoisonWatch:
        relay_queue = relay_queue_name(self._settings.name)
        return PoisonWatch(self._storage.queues, self._runs, self._dispatcher, relay_queue)

    @cached_property
    def _zone_upkeep(self) -> ZoneUpkeep:
        storage = self._storage
        aside = Aside(storage.zones, storage.executions, self._settlement, self._clock)
        return ZoneUpkeep(
            zones=storage.zones,
            runs=self._run_upkeep,
            places=Places(self._store, self._runs, self._admission, self._holdings, self._clock),
            given_up=GivenUp(
                store=self._store,
                settlement=self._settlement,
                failures=self._failures,
                aside=aside,
                settings=self._settings,
                clock=self._clock,
            ),
            aside=aside,
            failures=self._failures,
            settlement=self._settlement,
            poison=self._poison,
            control=self._control,
            clock=self._clock,
        )

    @cached_property
    def _run_upkeep(self) -> RunUpkeep:
        return RunUpkeep(
            store=self._store,
            runs=self._runs,
            definitions=self._definitions,
            holdings=self._holdings,
            claims=self._claims,
            followers=self._followers,
            settlement=self._settlement,
            dispatcher=self._dispatcher,
            standby=self._standby,
            settings=self._settings,
            clock=self._clock,
        )
