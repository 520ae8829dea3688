-- An account's groups changed: all records of its sessions say so. Whose index changed since it was read is told to read it again.
-- KEYS: the index, the records. ARGV: the groups, the sids.
local listed = redis.call('ZRANGE', KEYS[1], 0, -1)
for at, sid in ipairs(listed) do
  if sid ~= ARGV[at + 1] then return {'again'} end
end
local changed = {}
for at = 2, #KEYS do
  local record, failure = read(KEYS[at], ARGV[at])
  if record then
    change(KEYS[at], record, {[GROUPS] = ARGV[1]})
    changed[#changed + 1] = ARGV[at]
  elseif failure[1] == 'absent' then
    redis.call('ZREM', KEYS[1], ARGV[at])
  end
end
return {'changed', changed}
