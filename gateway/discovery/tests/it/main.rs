//! Discovery against servers on sockets: a DNS server of the tests, a real etcd, a Consul by its book.

automod::dir!("tests/it");
