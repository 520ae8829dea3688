"""The store: how it is reached, whichever of four kinds it is, and what is true of its answers.

client           the way in: one `Store` for every kind of URL, the one door for its errors
scripts          what is read, decided and written at once

tls              one TLS context for all connections of a store
failover_pool    connections that find their server anew at each connect
sentinel         … by asking sentinels for the master
cluster          … by asking nodes who has a slot, and commands that go to other slots
cluster_slots    which slot a key has, and which node a slot (pure)
newest_answer    several servers are asked, the newest configuration is believed
single_flight    who asks the same at the same time shares the answer

embedded         a server of our own, for one machine
binary           where its program comes from

fitness          may it be trusted with revocations at all
durability       would a write survive its death
inspection       `gateway check --live`: what its settings say, for an operator
"""
