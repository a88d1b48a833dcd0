-- One of everything that a dump of a database holds, and some of what it leaves out.
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION btree_gist;
CREATE EXTENSION hstore;

-- Columns in another order than a restore makes them in.
CREATE TABLE parent (a int, b text);
CREATE TABLE child (b text, c int, a int);
ALTER TABLE child INHERIT parent;
INSERT INTO child SELECT 'b' || i, i, i * 2 FROM generate_series(1, 40) i;

CREATE TABLE twins (i int);
INSERT INTO twins VALUES (1), (1);
ALTER TABLE twins REPLICA IDENTITY FULL;
CREATE RULE never AS ON UPDATE TO twins WHERE old.i > 5 DO INSTEAD NOTHING;

CREATE DOMAIN positive AS int DEFAULT 3 CHECK (VALUE > 0);
CREATE TYPE pair AS (x int, y text);
CREATE TYPE floats AS RANGE (subtype = float8);
CREATE TABLE typed OF pair;
CREATE TABLE wide (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  p positive,
  pr pair,
  g int GENERATED ALWAYS AS (coalesce(p, 0)::int * 2) STORED,
  k varchar(5) DEFAULT 'ab' CHECK (k IN ('ab', 'cd', 'ef')),
  t timestamptz DEFAULT now(),
  r floats,
  x xml,
  j json,
  c char(3),
  n numeric(10, 2) DEFAULT 1.50,
  i interval DEFAULT '1 day',
  EXCLUDE USING gist (r WITH &&)
) WITH (fillfactor = 70);
INSERT INTO wide (p, pr, r, x, j, c) VALUES
  (5, (1, 'a'), '[1,2)', '<a/>', '{"a": 1}', 'ab'),
  (NULL, NULL, NULL, NULL, NULL, NULL);
CREATE UNIQUE INDEX lower_k ON wide (lower(k), (p + 1)) WHERE k IN ('ab', 'cd');
ALTER TABLE wide ALTER k SET STATISTICS 500, ALTER j SET STORAGE EXTERNAL;
ALTER TABLE wide ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON wide FOR SELECT TO reader
  USING (k = ANY (ARRAY['ab'::varchar, 'cd'::varchar]));
CREATE STATISTICS together (dependencies) ON p, k FROM wide;
CLUSTER wide USING wide_pkey;

CREATE VIEW joined AS
  SELECT w.*, CASE WHEN k IN ('ab', 'cd') THEN 1 ELSE 2 END z
  FROM wide w LEFT JOIN twins d ON d.i = w.id WHERE false OR t BETWEEN '2020-01-01' AND now();
CREATE VIEW counted WITH (security_barrier) AS
  SELECT k || 'x' AS kk, count(*) FROM wide GROUP BY k HAVING count(*) > 0 ORDER BY 1 LIMIT 5;
CREATE MATERIALIZED VIEW many AS SELECT count(*) c FROM twins;
CREATE UNIQUE INDEX ON many (c);
CREATE MATERIALIZED VIEW none AS SELECT 1 c WITH NO DATA;

CREATE TABLE years (
  id int, at date NOT NULL, ref int REFERENCES wide (id), PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE years_2020 PARTITION OF years FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE years_2021 (at date NOT NULL, ref int, id int NOT NULL);
ALTER TABLE years ATTACH PARTITION years_2021 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE years_other PARTITION OF years DEFAULT;
CREATE TABLE of_years (id int, at date, FOREIGN KEY (id, at) REFERENCES years);
INSERT INTO years VALUES (1, '2020-02-02', 1), (2, '2021-02-02', 2);
INSERT INTO of_years VALUES (1, '2020-02-02');
CREATE INDEX ON years (ref);
CREATE FUNCTION another() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO twins VALUES (99); RETURN NEW; END$$;
CREATE TRIGGER always AFTER INSERT ON years FOR EACH ROW EXECUTE FUNCTION another();
ALTER TABLE years ENABLE ALWAYS TRIGGER always;
REVOKE ALL ON FUNCTION another() FROM PUBLIC;

CREATE FUNCTION parsed(a int DEFAULT 3, VARIADIC b text[] DEFAULT '{}') RETURNS TABLE (q int)
  BEGIN ATOMIC SELECT id FROM wide WHERE k IN ('ab', 'cd'); END;
CREATE PROCEDURE nothing() LANGUAGE sql SET search_path = public AS 'SELECT 1';
CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE FUNCTION same(wide, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR === (leftarg = wide, rightarg = int, function = same);
CREATE CAST (pair AS text) WITH INOUT;
CREATE COLLATION plain (provider = libc, locale = 'C');
CREATE TEXT SEARCH CONFIGURATION simpler (COPY = english);

CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h', dbname 'x');
CREATE USER MAPPING FOR reader SERVER elsewhere OPTIONS (user 'u', password 'secret');
CREATE FOREIGN TABLE far (a int OPTIONS (column_name 'b')) SERVER elsewhere;
CREATE PUBLICATION sent FOR TABLE wide (id, p) WHERE (id > 3), TABLE twins;
CREATE SUBSCRIPTION from_far CONNECTION 'host=127.0.0.1 port=1 dbname=x password=zz'
  PUBLICATION sent WITH (connect = false, slot_name = 'nowhere');

ALTER DEFAULT PRIVILEGES FOR ROLE "Odd ""Role" GRANT SELECT ON TABLES TO reader;
GRANT SELECT (k), UPDATE (p) ON wide TO reader;
GRANT ALL ON SEQUENCE wide_id_seq TO reader;
GRANT USAGE ON TYPE pair TO reader;
COMMENT ON TABLE wide IS 'it''s wide';
COMMENT ON COLUMN wide.k IS 'k';
COMMENT ON CONSTRAINT wide_k_check ON wide IS 'c';
CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 5) q;
CREATE SEQUENCE alone INCREMENT 5 MINVALUE 10 CYCLE OWNED BY twins.i;
SELECT nextval('alone');
SELECT lo_from_bytea(0, decode(repeat('ab', 10000), 'hex')), lo_from_bytea(0, 'small');
COMMENT ON DATABASE app IS 'the app''s';
ALTER ROLE reader IN DATABASE app SET work_mem = '8MB';
ALTER DATABASE app CONNECTION LIMIT 7;
REVOKE CONNECT ON DATABASE app FROM PUBLIC;
GRANT CONNECT ON DATABASE app TO reader;

-- A dump leaves out what belongs to an extension, the user's rows too.
CREATE TABLE members (i int);
INSERT INTO members VALUES (1);
ALTER EXTENSION hstore ADD TABLE members;

-- Last:
CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'no DDL here'; END$$;
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO public.twins VALUES (7); END$$;
CREATE EVENT TRIGGER logs ON ddl_command_end EXECUTE FUNCTION log_ddl();
ALTER EVENT TRIGGER logs ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER logs IS 'writes rows';
CREATE EVENT TRIGGER forbids ON ddl_command_start EXECUTE FUNCTION no_ddl();
ALTER EVENT TRIGGER forbids ENABLE ALWAYS;
ALTER DATABASE app SET default_transaction_read_only = on;
