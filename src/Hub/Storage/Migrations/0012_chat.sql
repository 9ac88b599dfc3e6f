-- Links whose node has chat to come or to answer: a message may be sent on another replica than the link's.
create index links_chat on links (replica_id, state, host_id) where chat_down_seq > chat_down_acked;
