-- A login: its record, its place in the account's index, and which of the account's older sessions are too many now.
-- They are only named: the log's tombstone comes first, then the record goes [L8]; what was not ended is named again next time.
-- KEYS: the record, the index, records of older sessions. ARGV: sid, session ttl, access ttl, refresh ttl, how many may be, how many
-- older ones are asked about, their sids, and then a value for each field, '' for what depends on the time.
local KEY, INDEX = KEYS[1], KEYS[2]
local now, now_text = server_time()
local ends = tonumber(instant(now + tonumber(ARGV[2])))
local older = tonumber(ARGV[6])
for at = 1, older do
  if redis.call('EXISTS', KEYS[2 + at]) == 0 then redis.call('ZREM', INDEX, ARGV[6 + at]) end
end

local record, whole_record = {}, {}
local times, over_at = dated(now, now_text, ends, tonumber(ARGV[3]), tonumber(ARGV[4]))
times[CREATED], times[LAST_SEEN], times[ENDS] = now_text, now_text, instant(ends)
for position = 1, #FIELDS do whole_record[position] = times[position] or ARGV[6 + older + position] end
put(KEY, record, whole_record)
redis.call('EXPIREAT', KEY, whole(over_at))

redis.call('ZADD', INDEX, now_text, ARGV[1])
local last = math.ceil(ends) + MARGIN
if now + redis.call('TTL', INDEX) < last then redis.call('EXPIREAT', INDEX, whole(last)) end

-- The new one is none of them, even when the store's clock went back and it seems the oldest.
local surplus = {}
local excess = redis.call('ZCARD', INDEX) - tonumber(ARGV[5])
if excess > 0 then
  for _, sid in ipairs(redis.call('ZRANGE', INDEX, 0, excess)) do
    if sid ~= ARGV[1] and #surplus < excess then surplus[#surplus + 1] = sid end
  end
end
return {'created', now_text, record, surplus}
