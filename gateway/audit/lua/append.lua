-- Append a batch of events, each under the pseudonym of its user. Repeating a batch changes nothing.
-- KEYS[7]: the process's last batch. ARGV: batch, entries kept in the trail, of strangers, seconds kept, what stands for an erased
-- user, then seven for each event: "1" if it needs no credential, event, digest of the name or "", name, a pseudonym nobody has,
-- "1" if it brings an erased name back, when it happened.
if redis.call('GET', KEYS[7]) == ARGV[1] then return 'again' end
local WIDTH, KEPT_S = 7, ARGV[4]
local now = server_time()
local next_id = new_ids(now)

-- What happened before a name was erased, or is still happening with a token from before, gets no name any more. The second is for
-- clocks that differ: ours and the process's that saw it [T6].
local function pseudonym_of(at)
  local digest = ARGV[at + 2]
  if digest == '' then return '' end
  local pseudonym = redis.call('HGET', PEOPLE, digest)
  if not pseudonym then
    local erased_at = redis.call('ZSCORE', FORGOTTEN, digest)
    if erased_at then
      if ARGV[at + 5] ~= '1' or tonumber(ARGV[at + 6]) <= tonumber(erased_at) + 1 then return ARGV[5] end
      redis.call('ZREM', FORGOTTEN, digest)
    end
    pseudonym = ARGV[at + 4]
    redis.call('HSET', PEOPLE, digest, pseudonym)
    redis.call('HSET', NAMES, pseudonym, ARGV[at + 3])
  end
  redis.call('ZADD', SEEN, string.format('%.6f', now + at / 1000000), digest) -- in the order of the events
  return pseudonym
end

for at = 6, #ARGV, WIDTH do
  local stream = ARGV[at] == '1' and STRANGERS or TRAIL
  redis.call('XADD', stream, next_id(), 'event', ARGV[at + 1], 'user', pseudonym_of(at))
end
redis.call('SET', KEYS[7], ARGV[1], 'EX', 86400)

-- Length first, then age (purge.lua). More names than entries: the ones seen longest ago have no entry left.
redis.call('XTRIM', TRAIL, 'MAXLEN', '~', ARGV[2])
redis.call('XTRIM', STRANGERS, 'MAXLEN', '~', ARGV[3])
local surplus = redis.call('ZCARD', SEEN) - tonumber(ARGV[2]) - tonumber(ARGV[3])
if surplus > 0 then
  for _, digest in ipairs(redis.call('ZRANGE', SEEN, 0, math.min(surplus, 1000) - 1)) do forget(digest) end
end
for key = 1, 5 do redis.call('EXPIRE', KEYS[key], KEPT_S) end
return 'appended'
