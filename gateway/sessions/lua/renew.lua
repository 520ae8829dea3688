-- A change of password keeps one session: the new version, under a new generation. Repeating it changes nothing, and an older
-- change that comes later neither: versions never decrease [L6].
-- KEYS: the record. ARGV: sid, version, network, access ttl, refresh ttl.
local record, failure = read(KEYS[1], ARGV[1])
if failure then return failure end
local refresh_expires, ends = tonumber(record[REFRESH_EXPIRES]), tonumber(record[ENDS])
local now, now_text = server_time()
if record[ENDED] == '1' or now >= ends or now >= refresh_expires then return {'absent'} end
if tonumber(ARGV[2]) > tonumber(record[VERSION]) then
  local changes, over_at = dated(now, now_text, ends, tonumber(ARGV[4]), tonumber(ARGV[5]))
  changes[GENERATION], changes[VERSION], changes[ROTATED_FROM] = whole(record[GENERATION] + 1), whole(tonumber(ARGV[2])), ARGV[3]
  change(KEYS[1], record, changes)
  redis.call('EXPIREAT', KEYS[1], whole(over_at))
end
return {'renewed', now_text, record}
