-- The catalogs. Each commit locks the row of its catalog, so the order of
-- revisions is the order of commits. An id is 45 random bits: a server that knows the
-- id of a catalog that was dropped must never meet another one under it. So many bits
-- fit into the name of a channel.
CREATE TABLE {schema}.catalogs (
	id          bigint   PRIMARY KEY DEFAULT ('x' || right(gen_random_uuid()::text, 12))::bit(45)::bigint,
	name        bytea    NOT NULL UNIQUE,
	revision    bigint   NOT NULL DEFAULT 0, -- of the last commit
	token       uuid     NOT NULL DEFAULT gen_random_uuid(), -- of the last commit
	fingerprint bigint   NOT NULL DEFAULT 0, -- of all statuses, modulo 2^64
	format      integer  NOT NULL DEFAULT 1, -- the newest format of a record
	compacted   bigint   NOT NULL DEFAULT 0, -- the changes up to this revision are gone
	changes     bigint   NOT NULL DEFAULT 0  -- of all commits
) WITH (fillfactor = 50);

-- Strings are bytea: text refuses some of them, and compares by locale.
CREATE TABLE {schema}.statuses (
	catalog    bigint   NOT NULL,
	id         bytea    NOT NULL,
	name       bytea    NOT NULL,
	type       bytea    NOT NULL,
	metadata   bytea    NOT NULL,
	updated_at bigint   NOT NULL, -- in milliseconds since 1970
	revision   bigint   NOT NULL, -- of the commit that wrote the status last
	hash       bigint   NOT NULL, -- the status's part of the fingerprint
	format     integer  NOT NULL,
	CONSTRAINT statuses_id PRIMARY KEY (catalog, id),
	CONSTRAINT statuses_name UNIQUE (catalog, name)
);

-- The feed. The row of the revision that the catalog was compacted to stays.
CREATE TABLE {schema}.commits (
	catalog     bigint   NOT NULL,
	revision    bigint   NOT NULL,
	token       uuid     NOT NULL, -- random, so that two histories never share one
	fingerprint bigint   NOT NULL, -- of all statuses after the commit
	total       bigint   NOT NULL, -- of changes, up to this commit
	format      integer  NOT NULL,
	changes     bytea    NOT NULL,
	PRIMARY KEY (catalog, revision)
);

-- What became of each commit of the last hour. A commit writes its marker itself.
-- Who gets no answer writes the marker without a revision, if there is none yet:
-- then the commit was not made, and can't be made any more.
CREATE TABLE {schema}.markers (
	token    uuid        PRIMARY KEY,
	catalog  bigint      NOT NULL,
	revision bigint,
	at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX markers_at ON {schema}.markers (catalog, at);

-- commit_1 makes a commit. It is one statement, so that no client can stop while it
-- holds the lock. In READ COMMITTED, each query in it sees what the lock waited for.
-- Each query and each expression costs a few microseconds, so there are few.
CREATE FUNCTION {schema}.commit_1(
	p_catalog bigint, p_format integer, p_known bigint, p_known_token uuid, p_token uuid,
	p_until timestamptz, p_lock_timeout text, p_channel text, p_keep_commits bigint, p_keep_changes bigint,
	p_kinds integer[], p_ids bytea[], p_befores bigint[], p_was bigint[], p_names bytea[], p_types bytea[],
	p_metadata bytea[], p_times bigint[], p_hashes bigint[],
	p_growth bigint, -- the sum of p_hashes minus that of p_was, modulo 2^64
	p_changes bytea,
	OUT o_revision bigint, OUT o_fingerprint bigint,
	OUT o_now bigint -- in microseconds since 1970
) LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
	-- Variables are cheaper than a row. lock_limit is never read: its default
	-- sets lock_timeout, which is cheaper than a PERFORM.
	lock_limit    text := set_config('lock_timeout', p_lock_timeout, true);
	newest_format integer;
	compacted_to  bigint;
	all_changes   bigint;
	arrived       timestamptz;
	n             integer := cardinality(p_kinds);
	i             integer := 1;
	j             integer;
	floor         bigint;
BEGIN
	IF current_setting('synchronous_commit') = 'off' THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
	-- This takes the lock. The WHERE refuses a newer format, and another history at the
	-- head. PostgreSQL checks it again on the row that it has waited for. The fingerprint
	-- is computed as numeric, because bigint would overflow: 3 * 2^63 makes the sum
	-- positive, and -2^63 brings the remainder back into the range of bigint.
	UPDATE {schema}.catalogs c
		SET revision = c.revision + 1, token = p_token, format = p_format, changes = c.changes + n,
			fingerprint = mod(c.fingerprint + p_growth::numeric + 27670116110564327424, 18446744073709551616) - 9223372036854775808
		WHERE c.id = p_catalog AND c.format <= p_format AND (c.revision <> p_known OR c.token = p_known_token)
		RETURNING c.revision, c.fingerprint, c.compacted, c.changes INTO o_revision, o_fingerprint, compacted_to, all_changes;
	IF NOT FOUND THEN
		-- This only finds out why. It holds no lock.
		SELECT c.format INTO newest_format FROM {schema}.catalogs c WHERE c.id = p_catalog;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'the catalog is gone' USING ERRCODE = 'CS005';
		ELSIF newest_format > p_format THEN
			RAISE EXCEPTION 'format %', newest_format USING ERRCODE = 'CS002';
		END IF;
		RAISE EXCEPTION 'another history' USING ERRCODE = 'CS003';
	END IF;
	arrived := clock_timestamp();
	IF arrived > p_until THEN
		RAISE EXCEPTION 'the commit has arrived too late' USING ERRCODE = 'CS004';
	END IF;
	-- A position that is compacted can't be checked, so it is refused like one that is
	-- lost. One before revision 0 is that of a store which has read nothing.
	IF p_known >= 0 AND p_known <> o_revision - 1 THEN
		PERFORM FROM {schema}.commits c WHERE c.catalog = p_catalog AND c.revision = p_known AND c.token = p_known_token;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'another history' USING ERRCODE = 'CS003';
		END IF;
	END IF;
	INSERT INTO {schema}.markers (token, catalog, revision, at) VALUES (p_token, p_catalog, o_revision, arrived);

	-- The hash tells a status from one that had the revision in a history that is lost.
	WHILE i <= n LOOP
		CASE p_kinds[i]
		WHEN 1 THEN
			j := i;
			WHILE j < n AND p_kinds[j + 1] = 1 LOOP
				j := j + 1;
			END LOOP;
			IF j = i THEN -- mostly so, and unnest costs more
				INSERT INTO {schema}.statuses (catalog, id, name, type, metadata, updated_at, revision, hash, format)
					VALUES (p_catalog, p_ids[i], p_names[i], p_types[i], p_metadata[i], p_times[i], o_revision, p_hashes[i], p_format);
			ELSE
				INSERT INTO {schema}.statuses (catalog, id, name, type, metadata, updated_at, revision, hash, format)
					SELECT p_catalog, u.id, u.name, u.type, u.metadata, u.updated_at, o_revision, u.hash, p_format
					FROM unnest(p_ids[i:j], p_names[i:j], p_types[i:j], p_metadata[i:j], p_times[i:j], p_hashes[i:j])
						AS u (id, name, type, metadata, updated_at, hash);
			END IF;
			i := j;
		WHEN 2 THEN
			UPDATE {schema}.statuses s SET name = p_names[i], type = p_types[i], metadata = p_metadata[i],
					updated_at = p_times[i], revision = o_revision, hash = p_hashes[i], format = p_format
				WHERE s.catalog = p_catalog AND s.id = p_ids[i] AND s.revision = p_befores[i] AND s.hash = p_was[i];
			IF NOT FOUND THEN
				RAISE EXCEPTION '%', i USING ERRCODE = 'CS001';
			END IF;
		ELSE
			DELETE FROM {schema}.statuses s
				WHERE s.catalog = p_catalog AND s.id = p_ids[i] AND s.revision = p_befores[i] AND s.hash = p_was[i];
			IF NOT FOUND THEN
				RAISE EXCEPTION '%', i USING ERRCODE = 'CS001';
			END IF;
		END CASE;
		i := i + 1;
	END LOOP;

	INSERT INTO {schema}.commits (catalog, revision, token, fingerprint, total, format, changes)
		VALUES (p_catalog, o_revision, p_token, o_fingerprint, all_changes, p_format, p_changes);
	IF o_revision % 64 = 0 THEN
		SELECT c.revision INTO floor FROM {schema}.commits c
			WHERE c.catalog = p_catalog AND c.revision <= o_revision - p_keep_commits AND c.total <= all_changes - p_keep_changes
			ORDER BY c.revision DESC LIMIT 1;
		IF floor > compacted_to THEN
			-- A bounded part, so that others don't wait long.
			floor := least(floor, compacted_to + 4096);
			DELETE FROM {schema}.commits c WHERE c.catalog = p_catalog AND c.revision < floor;
			UPDATE {schema}.catalogs c SET compacted = floor WHERE c.id = p_catalog;
		END IF;
		DELETE FROM {schema}.markers m WHERE m.token IN (
			SELECT o.token FROM {schema}.markers o
			WHERE o.catalog = p_catalog AND o.at < arrived - interval '1 hour' ORDER BY o.at LIMIT 1024);
	END IF;
	IF p_channel <> '' THEN
		PERFORM pg_notify(p_channel, o_revision::text);
	END IF;
	o_now := extract(epoch FROM arrived) * 1000000;
END $$;

-- resolve_1 decides what became of a commit, and returns its revision, or null if
-- it was not made.
CREATE FUNCTION {schema}.resolve_1(
	p_catalog bigint, p_token uuid, p_lock_timeout text,
	OUT o_revision bigint, OUT o_fingerprint bigint
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	PERFORM set_config('lock_timeout', p_lock_timeout, true);
	IF current_setting('synchronous_commit') = 'off' THEN
		PERFORM set_config('synchronous_commit', 'on', true);
	END IF;
	-- It waits for a commit under way that has written the marker.
	INSERT INTO {schema}.markers (token, catalog) VALUES (p_token, p_catalog) ON CONFLICT DO NOTHING;
	IF FOUND THEN
		-- If the server's clock was set forward, the marker has gone too early.
		SELECT c.revision, c.fingerprint INTO o_revision, o_fingerprint FROM {schema}.commits c
			WHERE c.catalog = p_catalog AND c.token = p_token;
		IF FOUND THEN
			DELETE FROM {schema}.markers m WHERE m.token = p_token;
		END IF;
		RETURN;
	END IF;
	-- A marker can be seen before a synchronous standby has it: when the wait for the
	-- standby was broken off, or the server was restarted. A transaction that writes
	-- nothing would not wait for the standby either.
	PERFORM pg_logical_emit_message(true, 'customstatus', ''::text);
	SELECT m.revision INTO o_revision FROM {schema}.markers m WHERE m.token = p_token;
	SELECT c.fingerprint INTO o_fingerprint FROM {schema}.commits c
		WHERE c.catalog = p_catalog AND c.revision = o_revision;
END $$;

-- feed_1 returns one row at least: the catalog and the commit at p_after. Up to 256
-- later commits follow, not many more than 4 MiB together. Without statistics, the
-- planner would sort all later commits. Without bitmap scans, it follows the index.
CREATE FUNCTION {schema}.feed_1(p_catalog bigint, p_after bigint)
RETURNS TABLE (
	o_standby boolean, o_head bigint, o_compacted bigint,
	o_revision bigint, o_token uuid, o_fingerprint bigint, o_format integer, o_changes bytea
) LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
	size bigint := 0;
BEGIN
	SELECT pg_is_in_recovery(), h.revision, h.compacted INTO o_standby, o_head, o_compacted
		FROM {schema}.catalogs h WHERE h.id = p_catalog;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	FOR o_revision, o_token, o_fingerprint, o_format, o_changes IN
		SELECT c.revision, c.token, c.fingerprint, c.format, CASE WHEN c.revision > p_after THEN c.changes END
		FROM {schema}.commits c WHERE c.catalog = p_catalog AND c.revision >= p_after ORDER BY c.revision LIMIT 257
	LOOP
		RETURN NEXT;
		-- The first commit after p_after always comes, whatever its size.
		size := size + coalesce(octet_length(o_changes), 0);
		EXIT WHEN size >= 4194304;
	END LOOP;
	IF NOT FOUND THEN
		RETURN NEXT; -- the catalog alone
	END IF;
END $$;
