-- Counters that empty themselves: GCRA, the leaky bucket that is one number. A key holds the microsecond at which its bucket will
-- be empty again, and expires then. A bucket takes `period / interval` at once and one more each interval.
-- Beside them watches, which limit nobody: hashes of failures by the minute. When the last minutes hold a hundred, the watch says so
-- and begins anew. An attempt is a failure from the moment when it takes a place until it gives it back.
-- KEYS: the counters, then the watches. ARGV: "take" or "give back", how many counters, how many failures a watch waits for, in how many
-- minutes; then interval and period of each counter, in microseconds; then for each watch
-- take:       the number of its counter. A place is taken from all counters or from none, and is a failure for all watches; where none is
--             to be had, it is one for those whose counter is full. {0, 0, numbers of the watches that are reached},
--             or {number of the fullest, microseconds until it has room, the same}
-- give back:  "1" if it was reached by this very attempt. Undoes one take. {0, 0}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local COUNTERS, ENOUGH, MINUTES = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local minute = math.floor(now / 60000000)

-- When the bucket will be empty. Never more than a period ahead: a clock that was set back does not lock anybody out for longer.
local function empty_at(key, period)
  local kept = tonumber(redis.call('GET', key) or '') or now
  return math.max(now, math.min(kept, now + period))
end

local function keep(key, empty)
  if empty <= now then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.format('%.0f', empty), 'PX', string.format('%.0f', math.ceil((empty - now) / 1000)))
  end
end

-- The failures of the last minutes, and the newest of these minutes; older ones, and those of a clock that was set back, are dropped.
local function recent(key)
  local sum, newest = 0, 0
  local kept = redis.call('HGETALL', key)
  for at = 1, #kept, 2 do
    local its_minute = tonumber(kept[at])
    if its_minute > minute - MINUTES and its_minute <= minute then
      sum, newest = sum + tonumber(kept[at + 1]), math.max(newest, its_minute)
    else
      redis.call('HDEL', key, kept[at])
    end
  end
  return sum, newest
end

local function add(key, its_minute, failures)
  if redis.call('HINCRBY', key, string.format('%.0f', its_minute), failures) <= 0 then
    redis.call('HDEL', key, string.format('%.0f', its_minute))
  end
  redis.call('EXPIRE', key, (MINUTES + 1) * 60)
end

-- Whether the hundred is full.
local function fail(key)
  if recent(key) + 1 < ENOUGH then
    add(key, minute, 1)
    return false
  end
  redis.call('DEL', key)
  return true
end

local function unfail(key, was_reached)
  local failures, newest = recent(key)
  if was_reached then
    add(key, minute, ENOUGH - 1)
  elseif failures > 0 then
    add(key, newest, -1)
  end
end

local counters, longest, fullest = {}, 0, 0
for number = 1, COUNTERS do
  local interval, period = tonumber(ARGV[3 + 2 * number]), tonumber(ARGV[4 + 2 * number])
  local empty = empty_at(KEYS[number], period)
  local wait = empty + interval - now - period
  if wait > longest then longest, fullest = wait, number end
  counters[number] = {key = KEYS[number], empty = empty, interval = interval, wait = wait}
end

local answer = {fullest, longest}
if ARGV[1] == 'take' then
  for number = COUNTERS + 1, #KEYS do
    local counter = counters[tonumber(ARGV[4 + COUNTERS + number])]
    if (fullest == 0 or counter.wait > 0) and fail(KEYS[number]) then answer[#answer + 1] = number - COUNTERS end
  end
  if fullest > 0 then return answer end
  for _, counter in ipairs(counters) do keep(counter.key, counter.empty + counter.interval) end
  return answer
end
for _, counter in ipairs(counters) do keep(counter.key, counter.empty - counter.interval) end
for number = COUNTERS + 1, #KEYS do unfail(KEYS[number], ARGV[4 + COUNTERS + number] == '1') end
return {0, 0}
