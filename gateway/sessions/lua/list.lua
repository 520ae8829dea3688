-- An account's records; those that are gone leave its index. KEYS: the index, the records. ARGV: the sids.
local found, corrupt = {}, {}
for at = 2, #KEYS do
  local record, failure = read(KEYS[at], ARGV[at - 1])
  if record then
    found[#found + 1] = {ARGV[at - 1], record}
  elseif failure[1] == 'absent' then
    redis.call('ZREM', KEYS[1], ARGV[at - 1])
  else
    corrupt[#corrupt + 1] = ARGV[at - 1]
  end
end
local _, now_text = server_time()
return {now_text, found, corrupt}
