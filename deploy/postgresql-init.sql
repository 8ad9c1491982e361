-- Run once, when the volume is new. The roles of flowtally have nothing to do in
-- the databases that every cluster has, where anybody may make temporary tables.
revoke connect on database postgres, template1 from public;
