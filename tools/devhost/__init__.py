"""A local stand-in for the Azure Functions host.

It loads a function app with Microsoft's own worker library and drives it as the host does: HTTP
routes, timers, and queue triggers with visibility, dequeue counts and poison queues. Functions are
read from the app itself and from host.json; there is no second list.

What it does not imitate: auth levels, host and function keys, CORS and the `/admin` pages; scaling,
placement of functions on instances and cold start; the lease by which only one instance runs a
timer (here every host runs every timer) and the stored schedule status behind a timer's
`past_due` (here: it starts over a second late); `functionTimeout` and retry policies; bindings
other than HTTP, timer and queue triggers. Its one liberty: `X-Forwarded-For` is set to the client's
address, which in Azure the platform's front end does, not the host.
"""
