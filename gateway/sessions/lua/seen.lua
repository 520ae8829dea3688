-- A session was used: for people, so the revision stays. Never makes a record that is not there.
-- KEYS: the record. ARGV: sid, last seen, network, how many times.
local record = read(KEYS[1], ARGV[1])
if not record then return 0 end
local changes = {[USES] = whole(record[USES] + tonumber(ARGV[4]))}
if tonumber(ARGV[2]) > tonumber(record[LAST_SEEN]) then
  changes[LAST_SEEN] = instant(tonumber(ARGV[2]))
  if ARGV[3] ~= '' then changes[LAST_NETWORK] = ARGV[3] end
end
put(KEYS[1], record, changes)
return 1
