"""Catalogue queries for facts of the first form, as backups of format 1 recorded them.

Their digests are compared with recorded digests: never change the queries.
"""

# ruff: noqa: S608 -- composed of the constants of this file only

from __future__ import annotations

_LARGE_OBJECTS = 100
_LARGE_OBJECT_BYTES = 1 << 20

# An extension creates its own objects; temporary and system objects aren't dumped.
_OURS = """
  {n}.nspname NOT IN ('pg_catalog', 'information_schema') AND {n}.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = {c}.oid AND e.deptype = 'e')
"""
RELATIONS = f"""
SELECT format('%I.%I', n.nspname, c.relname), c.relkind::text, pg_relation_size(c.oid),
  (SELECT array_agg(quote_ident(a.attname) ORDER BY k.at)
     FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(number, at), pg_attribute a
    WHERE i.indrelid = c.oid AND i.indisprimary
      AND a.attrelid = c.oid AND a.attnum = k.number)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_OURS.format(n="n", c="c")}
ORDER BY 1
"""
# Names and types, not expressions: the server writes the same expression differently before
# and after a dump (such as a list of varchar values).
DEFINITIONS = f"""
SELECT name, md5(string_agg(line, E'\\n' ORDER BY line COLLATE "C")) FROM (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_OURS.format(n="n", c="c")}
) r CROSS JOIN LATERAL (
  SELECT format('column %s %I %s %s', row_number() OVER (ORDER BY a.attnum), a.attname,
                format_type(a.atttypid, a.atttypmod), a.attnotnull) AS line
    FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT format('index %I %s %s %s', x.relname, i.indisunique, i.indisprimary, m.amname)
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
   WHERE i.indrelid = r.oid
  UNION ALL
  SELECT format('constraint %I %s', k.conname, k.contype)
    FROM pg_constraint k WHERE k.conrelid = r.oid
  UNION ALL
  SELECT format('trigger %I %s', t.tgname, t.tgenabled)
    FROM pg_trigger t WHERE t.tgrelid = r.oid AND NOT t.tgisinternal
) l GROUP BY name
"""
FUNCTIONS = f"""
SELECT quote_ident(n.nspname), count(*), md5(string_agg(
  format('%I(%s) %s', p.proname, pg_get_function_identity_arguments(p.oid), md5(p.prosrc)),
  E'\\n' ORDER BY p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C"))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {_OURS.format(n="n", c="p")} GROUP BY 1
"""
EXTENSIONS = """
SELECT quote_ident(x.extname), n.nspname
FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
"""
COUNTS = f"""
SELECT
  (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS.format(n="n", c="c")}),
  (SELECT count(*) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS.format(n="n", c="c")}),
  (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND {_OURS.format(n="n", c="c")}),
  (SELECT count(*) FROM pg_largeobject_metadata)
"""
LARGE = f"""
SELECT md5(string_agg(oid || ':' || md5(lo_get(oid, 0, {_LARGE_OBJECT_BYTES})), ',' ORDER BY oid))
FROM (SELECT oid FROM pg_largeobject_metadata ORDER BY oid LIMIT {_LARGE_OBJECTS}) o
"""
DATABASE = """
SELECT format('database %I', d.datname), format('%s %s %s, owner %s',
  pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, pg_get_userbyid(d.datdba))
FROM pg_database d WHERE d.datname = current_database()
"""
# A digest of a password's verifier is enough to check that it was restored.
ROLES = """
SELECT format('role %I', r.rolname), format('%s%s%s%s%s%s%s %s %s', r.rolsuper,
  r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls,
  r.rolconnlimit, md5(concat_ws('|',
    CASE WHEN r.rolname = current_user THEN '' ELSE coalesce(a.rolpassword, 'none') END,
    (SELECT string_agg(s, ',' ORDER BY s) FROM unnest(r.rolconfig) s),
    (SELECT string_agg(pg_get_userbyid(m.roleid), ',' ORDER BY pg_get_userbyid(m.roleid))
       FROM pg_auth_members m WHERE m.member = r.oid))))
FROM pg_roles r JOIN pg_authid a ON a.oid = r.oid
WHERE r.rolname !~ '^pg_' ORDER BY 1
"""
