// Loaded before the emulator: it stops, as on SIGTERM, when the process that started it is gone.
process.stdin.on('close', () => process.kill(process.pid, 'SIGTERM'));
process.stdin.resume();
process.stdin.unref();
