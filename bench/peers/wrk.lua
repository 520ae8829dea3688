-- The summary as one JSON line; an optional pause before each request, in milliseconds, as the only argument.
local pause = 0

function init(arguments)
   pause = tonumber(arguments[1]) or 0
   if pause > 0 then
      delay = function() return math.random(0, 2 * pause) end
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "duration_s": %.6f, "refused": %d, "broken": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
      summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
