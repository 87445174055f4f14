"""One run: plan, weather, quiet, balance."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

from benchmarks.plugin import plugin
from chaos.asker import Asker
from chaos.balance import Sheet, balance
from chaos.books import Books, Happened
from chaos.effects import POSTGRES_SETTINGS, Effects
from chaos.hostlog import HostLogs, read_logs
from chaos.jobs import CONNECTION, DECLARED, chaos_jobs
from chaos.ledger import read_ledger, wait_until_quiet
from chaos.meddler import Meddler
from chaos.plan import Plan
from chaos.waiting_step import WaitingStep
from chaos.weather import Weather
from scheduler.app import App
from scheduler.settings import Settings
from tools.azurite import Azurite
from tools.fleet import Fleet
from tools.local_settings import new_secrets
from tools.postgres import Postgres
from tools.process import ROOT

LEASE_SECONDS = 10
STORE_SECONDS = 20.0
"""Time to store the jobs, before the run begins."""
QUIET_SECONDS = 480.0
SETTINGS = {
    "SCHEDULER_NAME": "chaos",
    "SCHEDULER_TIMEZONES": ",".join(DECLARED),
    "SCHEDULER_LEASE_SECONDS": str(LEASE_SECONDS),
    "SCHEDULER_LEASE_RENEWAL_SECONDS": "3",
    "SCHEDULER_STALL_SECONDS": "20",
    "SCHEDULER_MAX_CONCURRENT_PER_TIMEZONE": "8",
    "DEVHOST_MESSAGE_LEASE_SECONDS": "30",
}
"""Lease, renewal and stall are scaled down; the clock skew is how far the clocks are apart."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run: `quiet_after` is None when it never became quiet."""

    plan: Plan
    sheet: Sheet
    logs: HostLogs
    quiet_after: float | None
    hosts: int
    kills: int
    copied: int
    repeated: int

    @property
    def balances(self) -> bool:
        """Whether all ended, and the sheet balances."""
        return self.quiet_after is not None and self.sheet.balances


async def run(plan: Plan, tell: Callable[[str], None]) -> Result:
    """Runs a plan on processes of its own; `tell` hears what happens.

    The folder with the logs and the data of the storage is kept when the sheet does not balance.

    Raises:
        ProcessFailed: a process does not come up.
    """
    folder = Path(mkdtemp(prefix="chaos-"))
    try:
        result = await _in(folder, plan, tell)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if result.balances:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        tell(f"logs and storage are kept in {folder}")
    return result


async def _in(folder: Path, plan: Plan, tell: Callable[[str], None]) -> Result:
    with Postgres(POSTGRES_SETTINGS) as postgres, Azurite(folder / "azurite") as azurite:
        effects = Effects(postgres.connection_string)
        environment = new_secrets() | SETTINGS
        environment["PYTHONPATH"] = f"{ROOT}:{plugin(folder, WaitingStep)}"
        environment["SCHEDULER_MAX_CLOCK_SKEW_SECONDS"] = f"{plan.clock_distance:g}"
        environment["AzureWebJobsStorage"] = azurite.connection_string
        environment[f"SCHEDULER_CONNECTION_{CONNECTION.upper()}"] = postgres.connection_string
        patient = {"SCHEDULER_STORAGE_RETRIES": "1", "SCHEDULER_STORAGE_TIMEOUT_SECONDS": "20"}
        app = App(Settings.load(environment | patient))
        try:
            with Fleet(environment, folder, clocks=plan.clocks) as fleet:
                await asyncio.to_thread(fleet.start_all)
                return await _run(plan, fleet, azurite, app, effects, tell)
        finally:
            await app.close()


async def _run(
    plan: Plan,
    fleet: Fleet,
    azurite: Azurite,
    app: App,
    effects: Effects,
    tell: Callable[[str], None],
) -> Result:
    admin_key = app.settings.admin_key or ""
    asker = Asker(lambda: fleet.urls, admin_key, plan.seed)
    meddler = Meddler(app.storage.queues, plan.seed)
    weather = Weather(plan, fleet, azurite, meddler, app.dispatcher, tell)
    begin, began = datetime.now(UTC) + timedelta(seconds=STORE_SECONDS), monotonic() + STORE_SECONDS
    jobs = chaos_jobs(begin, plan.seconds, plan.step_seconds, plan.once_at)
    await asker.store(jobs)
    tell(f"{monotonic() - began:6.1f}  {len(jobs)} jobs are stored")
    idempotent = await asker.is_idempotent(jobs[0].job_id)
    await asyncio.sleep(max(0, began - monotonic()))
    async with asyncio.TaskGroup() as group:
        group.create_task(asker.ask(plan.asks, began))
        group.create_task(weather.blow(began))
    await asyncio.sleep(max(0, began + plan.seconds - monotonic()))
    tell(f"{monotonic() - began:6.1f}  the weather is over; waiting for all to end")
    job_ids = [job.job_id for job in jobs]
    quiet_after = await wait_until_quiet(app, job_ids, QUIET_SECONDS)
    tell(_told_quiet(quiet_after))
    await asyncio.to_thread(fleet.stop)
    books = Books(
        jobs=jobs,
        asked=asker.asked,
        idempotent=idempotent,
        ledger=await read_ledger(app, job_ids, _days(begin)),
        effects=await asyncio.to_thread(effects.read),
        looks=await asyncio.to_thread(effects.read_looks),
        logs=read_logs(fleet.lives),
        happened=Happened(
            {life.name: life for life in fleet.lives},
            weather.spells,
            timedelta(seconds=LEASE_SECONDS),
        ),
    )
    return Result(
        plan=plan,
        sheet=_sheet(books),
        logs=books.logs,
        quiet_after=quiet_after,
        hosts=len(fleet.lives),
        kills=weather.kills,
        copied=meddler.copied,
        repeated=meddler.repeated,
    )


def _sheet(books: Books) -> Sheet:
    sheet = balance(books)
    wished = [one for one in books.asked if one.cancelled is not None]
    sheet.told["asked to be cancelled"] = len(wished)
    sheet.told["answered that it is"] = sum(one.cancelled in (200, 202) for one in wished)
    return sheet


def _told_quiet(quiet_after: float | None) -> str:
    if quiet_after is None:
        return f"NOT QUIET {QUIET_SECONDS:g} s after the weather"
    return f"all was quiet {quiet_after:.0f} s after the weather"


def _days(begin: datetime) -> Sequence[datetime]:
    return (begin, datetime.now(UTC))
