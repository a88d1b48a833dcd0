"""Queries on a PostgreSQL server's system catalogues for the content of a database.

Expressions are digested without casts, parentheses and white space: the server writes the same
expression differently before and after a dump (such as a list of varchar values).
Optional columns are read through ``to_jsonb``: not all versions have them.
"""

# ruff: noqa: S608 -- composed of the constants of this file only

from __future__ import annotations

LARGE_OBJECT_BYTES = 1 << 20
_LARGE_OBJECTS = 500
_FIRST_USER_OID = 16384

_CAST = (
    r'::("[^"]*"|[a-z_][a-z0-9_$]*)(\.("[^"]*"|[a-z_][a-z0-9_$]*))*( varying| precision)?'
    r"(\(-?\d+(,\s*-?\d+)?\))?( with(out)? time zone)?(\[\])*"
)


def _plain(expression: str) -> str:
    """Return an SQL expression that normalises the text of an expression."""
    return f"regexp_replace(regexp_replace({expression}, '{_CAST}', '', 'g'), '[()\\s]', '', 'g')"


def _acl(acl: str, kind: str, owner: str) -> str:
    """Return an SQL expression for the grants of an ACL; a default ACL is written out."""
    return (
        "(SELECT string_agg(concat_ws(' ', CASE g.grantee WHEN 0 THEN 'public' ELSE"
        " quote_ident(pg_get_userbyid(g.grantee)) END, g.privilege_type, g.is_grantable), ','"
        " ORDER BY CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee) END COLLATE \"C\","
        f" g.privilege_type) FROM aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) g)"
    )


def _sorted(options: str) -> str:
    return f"(SELECT string_agg(u, ',' ORDER BY u) FROM unnest({options}) u)"


# An extension creates its own objects; temporary and system objects aren't dumped.
_SYSTEM = (
    "({n}.nspname IN ('pg_catalog', 'information_schema') OR {n}.nspname ~ '^pg_(toast|temp)')"
)


def _member(catalogue: str, oid: str) -> str:
    return (
        f"EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalogue}'::regclass"
        f" AND e.objid = {oid} AND e.deptype = 'e')"
    )


def _ours(n: str, catalogue: str, oid: str) -> str:
    return f"NOT {_SYSTEM.format(n=n)} AND NOT {_member(catalogue, oid)}"


# A row for each relation that a dump contains, and for each table of an extension: ``covered``
# says whether its rows are dumped (pg_extension_config_dump), ``condition`` which ones.
RELATIONS = f"""
SELECT format('%I.%I', n.nspname, c.relname), c.relkind::text, pg_relation_size(c.oid),
  (SELECT array_agg(quote_ident(a.attname) ORDER BY k.at)
     FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(number, at), pg_attribute a
    WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid
      AND a.attrelid = c.oid AND a.attnum = k.number),
  (SELECT array_agg(quote_ident(a.attname) ORDER BY a.attname COLLATE "C")
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid),
  x.extname, x.at IS NOT NULL, coalesce(x.condition, '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
  SELECT x.extname, array_position(x.extconfig, c.oid) AS at,
         x.extcondition[array_position(x.extconfig, c.oid)] AS condition
  FROM pg_depend e JOIN pg_extension x ON x.oid = e.refobjid
  WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.objsubid = 0
    AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e'
) x ON true
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT {_SYSTEM.format(n="n")}
ORDER BY 1
"""
# pg_dump doesn't dump relations that users created in the system schemas.
HIDDEN = f"""
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= {_FIRST_USER_OID} AND n.nspname IN ('pg_catalog', 'information_schema')
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT {_member("pg_class", "c.oid")}
"""
# A restore changes the order of columns of a table that inherits. An invalid index isn't
# dumped. Foreign keys of partitions follow from those of the partitioned table.
STRUCTURES = f"""
SELECT name, md5(string_agg(line, E'\\n' ORDER BY line COLLATE "C")) FROM (
  SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_ours("n", "pg_class", "c.oid")}
) r CROSS JOIN LATERAL (
  SELECT concat_ws(' ', 'relation', r.relkind, r.relpersistence, pg_get_userbyid(r.relowner),
    (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(r.reloptions) o),
    r.relrowsecurity, r.relforcerowsecurity, r.relreplident,
    {_acl("r.relacl", "r", "r.relowner")},
    CASE r.relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) END,
    {_plain("pg_get_expr(r.relpartbound, r.oid)")},
    CASE WHEN r.relkind IN ('v', 'm') THEN {_plain("pg_get_viewdef(r.oid)")} END,
    (SELECT string_agg(h.inhparent::regclass::text, ',' ORDER BY h.inhseqno)
       FROM pg_inherits h WHERE h.inhrelid = r.oid)) AS line
  UNION ALL
  SELECT concat_ws(' ', 'sequence', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
    s.seqmax, s.seqmin, s.seqcache, s.seqcycle,
    (SELECT format('%s %s %s', d.deptype, d.refobjid::regclass, a.attname)
       FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
      WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
    FROM pg_sequence s WHERE s.seqrelid = r.oid
  UNION ALL
  SELECT concat_ws(' ', 'column', CASE WHEN NOT EXISTS
      (SELECT FROM pg_inherits h WHERE h.inhrelid = r.oid)
      THEN row_number() OVER (ORDER BY a.attnum) END,
    quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
    a.attgenerated, a.attstorage, to_jsonb(a) ->> 'attcompression',
    CASE WHEN a.attcollation <> t.typcollation THEN
      (SELECT o.collname FROM pg_collation o WHERE o.oid = a.attcollation) END,
    (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(a.attoptions) o WHERE o ~ '^n_distinct'),
    CASE WHEN r.relkind = 'f' THEN {_sorted("a.attfdwoptions")} END,
    CASE WHEN a.attacl IS NOT NULL THEN {_acl("a.attacl", "c", "r.relowner")} END,
    {_plain("pg_get_expr(d.adbin, d.adrelid)")})
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND r.relkind <> 'S'
  UNION ALL
  SELECT concat_ws(' ', 'index', i.indisclustered, i.indisreplident,
    {_plain("pg_get_indexdef(i.indexrelid)")})
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
   WHERE i.indrelid = r.oid AND (i.indisvalid OR x.relkind = 'I')
  UNION ALL
  SELECT concat_ws(' ', 'constraint', quote_ident(k.conname), k.convalidated,
    {_plain("pg_get_constraintdef(k.oid)")})
    FROM pg_constraint k
   WHERE k.conrelid = r.oid AND NOT (k.contype = 'f' AND k.conparentid <> 0)
  UNION ALL
  SELECT concat_ws(' ', 'trigger', t.tgenabled, {_plain("pg_get_triggerdef(t.oid)")})
    FROM pg_trigger t WHERE t.tgrelid = r.oid AND NOT t.tgisinternal
  UNION ALL
  SELECT concat_ws(' ', 'rule', w.ev_enabled, {_plain("pg_get_ruledef(w.oid)")})
    FROM pg_rewrite w WHERE w.ev_class = r.oid AND w.rulename <> '_RETURN'
  UNION ALL
  SELECT concat_ws(' ', 'policy', quote_ident(p.polname), p.polcmd, p.polpermissive,
    (SELECT string_agg(CASE o WHEN 0 THEN 'public' ELSE pg_get_userbyid(o) END, ','
       ORDER BY CASE o WHEN 0 THEN 'public' ELSE pg_get_userbyid(o) END) FROM unnest(p.polroles) o),
    {_plain("pg_get_expr(p.polqual, p.polrelid)")},
    {_plain("pg_get_expr(p.polwithcheck, p.polrelid)")})
    FROM pg_policy p WHERE p.polrelid = r.oid
) l GROUP BY name
"""
FUNCTIONS = f"""
SELECT quote_ident(n.nspname), count(*), md5(string_agg(
  concat_ws(' ', p.proname, pg_get_function_identity_arguments(p.oid), md5(p.prosrc),
    pg_get_userbyid(p.proowner), {_acl("p.proacl", "f", "p.proowner")},
    CASE p.prokind WHEN 'a' THEN
      (SELECT concat_ws(' ', g.aggtransfn, g.aggfinalfn, g.agginitval, g.aggkind)
         FROM pg_aggregate g WHERE g.aggfnoid = p.oid)
      ELSE {_plain("pg_get_functiondef(p.oid)")} END),
  E'\\n' ORDER BY p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C"))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {_ours("n", "pg_proc", "p.oid")} GROUP BY 1
"""
TYPES = f"""
SELECT format('%I.%I', n.nspname, t.typname), md5(concat_ws(' ', t.typtype,
  pg_get_userbyid(t.typowner), {_acl("t.typacl", "T", "t.typowner")},
  (SELECT string_agg(quote_literal(l.enumlabel), ',' ORDER BY l.enumsortorder)
     FROM pg_enum l WHERE l.enumtypid = t.oid),
  CASE t.typtype WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod),
    t.typnotnull, {_plain("t.typdefault")},
    (SELECT string_agg(concat_ws(' ', k.conname, k.convalidated,
        {_plain("pg_get_constraintdef(k.oid)")}), ',' ORDER BY k.conname COLLATE "C")
       FROM pg_constraint k WHERE k.contypid = t.oid)) END,
  (SELECT format_type(g.rngsubtype, NULL) FROM pg_range g WHERE g.rngtypid = t.oid),
  (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ','
       ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)))
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE {_ours("n", "pg_type", "t.oid")} AND (t.typrelid = 0 OR c.relkind = 'c')
  AND t.typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type o WHERE o.typarray = t.oid)
"""
SCHEMAS = f"""
SELECT quote_ident(n.nspname), concat_ws(', ', 'owner ' || pg_get_userbyid(n.nspowner),
  {_acl("n.nspacl", "n", "n.nspowner")})
FROM pg_namespace n WHERE {_ours("n", "pg_namespace", "n.oid")}
"""
EXTENSIONS = """
SELECT quote_ident(x.extname), n.nspname
FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
"""


def _kind(catalogue: str, extra: str, *, schema: str = "") -> str:
    """Return a query for the objects of one catalogue: kind, identity and definition."""
    skipped = (
        f"AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.oid = o.{schema} AND"
        f" {_SYSTEM.format(n='n')})"
        if schema
        else ""
    )
    return (
        f"SELECT i.type, concat_ws(' ', i.identity, {extra}) AS line FROM {catalogue} o,"
        f" pg_identify_object('{catalogue}'::regclass, o.oid, 0) i"
        f" WHERE o.oid >= {_FIRST_USER_OID} AND NOT {_member(catalogue, 'o.oid')} {skipped}"
    )


_OTHERS = (
    _kind("pg_event_trigger", "o.evtevent, o.evtenabled, o.evtfoid::regproc, o.evttags"),
    _kind(
        "pg_publication",
        "to_jsonb(o) - 'oid' - 'pubowner', pg_get_userbyid(o.pubowner), "
        + _plain(
            "(SELECT string_agg(to_jsonb(v)::text, ',' ORDER BY v.schemaname, v.tablename)"
            " FROM pg_publication_tables v WHERE v.pubname = o.pubname)"
        ),
    ),
    # Without its enabled state: a restored subscription is always disabled. Without its
    # connection string: it contains a password.
    _kind(
        "pg_subscription",
        "pg_get_userbyid(o.subowner), o.subslotname, o.subsynccommit,"
        " (SELECT string_agg(s, ',' ORDER BY s) FROM unnest(o.subpublications) s)",
    )
    + " AND o.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())",
    _kind("pg_foreign_data_wrapper", _sorted("o.fdwoptions") + ", pg_get_userbyid(o.fdwowner)"),
    _kind(
        "pg_foreign_server",
        "o.srvtype, o.srvversion, "
        + _sorted("o.srvoptions")
        + ", pg_get_userbyid(o.srvowner), "
        + _acl("o.srvacl", "S", "o.srvowner"),
    ),
    _kind(
        "pg_user_mapping",
        # Only the names of options: one of them is a password.
        "(SELECT string_agg(split_part(u, '=', 1), ',' ORDER BY u) FROM unnest(o.umoptions) u)",
    ),
    _kind("pg_language", "pg_get_userbyid(o.lanowner), " + _acl("o.lanacl", "l", "o.lanowner")),
    _kind("pg_default_acl", "o.defaclobjtype, " + _acl("o.defaclacl", "r", "o.defaclrole")),
    _kind(
        "pg_statistic_ext",
        _plain("pg_get_statisticsobjdef(o.oid)"),
        schema="stxnamespace",
    ),
    _kind("pg_cast", "o.castfunc::regprocedure, o.castcontext, o.castmethod"),
    _kind("pg_operator", "o.oprcode", schema="oprnamespace"),
    _kind("pg_opclass", "o.opcdefault", schema="opcnamespace"),
    _kind("pg_opfamily", "''", schema="opfnamespace"),
    _kind("pg_collation", "o.collcollate, o.collctype", schema="collnamespace"),
    _kind("pg_conversion", "o.conproc", schema="connamespace"),
    _kind("pg_ts_config", "''", schema="cfgnamespace"),
    _kind("pg_ts_dict", "o.dictinitoption", schema="dictnamespace"),
    _kind("pg_ts_parser", "''", schema="prsnamespace"),
    _kind("pg_ts_template", "''", schema="tmplnamespace"),
    _kind("pg_am", "o.amhandler"),
    _kind("pg_transform", "''"),
)
OTHERS = (
    "SELECT type, count(*), md5(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\")) FROM ("
    + " UNION ALL ".join(_OTHERS)
    + ") o GROUP BY type"
)
COMMENTS = f"""
SELECT count(*), coalesce(md5(string_agg(line, E'\\n' ORDER BY line COLLATE "C")), '') FROM (
  SELECT concat_ws(' ', i.type, i.identity, d.description) AS line
  FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
  WHERE d.objoid >= {_FIRST_USER_OID} AND coalesce(i.schema, '') NOT LIKE 'pg\\_toast%'
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid
                      AND e.deptype = 'e')
    AND NOT EXISTS (SELECT FROM pg_index x WHERE d.classoid = 'pg_class'::regclass
                      AND x.indexrelid = d.objoid AND NOT x.indisvalid)
    AND d.classoid <> 'pg_extension'::regclass
) c
"""
COUNTS = f"""
SELECT
  (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (i.indisvalid OR c.relkind = 'I') AND {_ours("n", "pg_class", "i.indrelid")}),
  (SELECT count(*) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (k.contype = 'f' AND k.conparentid <> 0) AND {_ours("n", "pg_class", "c.oid")}),
  (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND {_ours("n", "pg_class", "c.oid")}),
  (SELECT count(*) FROM pg_largeobject_metadata)
"""
# Size and owner of all; the content of the first and the last ones, up to a limit each.
LARGE = f"""
SELECT md5(string_agg(concat_ws(':', o.oid, pg_get_userbyid(o.lomowner),
  {_acl("o.lomacl", "L", "o.lomowner")},
  (SELECT max(p.pageno::bigint * 2048 + length(p.data)) FROM pg_largeobject p WHERE p.loid = o.oid),
  CASE WHEN least(o.first, o.last) <= {_LARGE_OBJECTS}
    THEN md5(lo_get(o.oid, 0, {LARGE_OBJECT_BYTES})) END), ',' ORDER BY o.oid))
FROM (SELECT *, row_number() OVER (ORDER BY oid) AS first,
        row_number() OVER (ORDER BY oid DESC) AS last FROM pg_largeobject_metadata) o
"""
# Which tablespaces the database and its relations use, except for the default tablespace.
PLACEMENT = f"""
SELECT md5(string_agg(line, E'\\n' ORDER BY line COLLATE "C")) FROM (
  SELECT concat_ws(' ', c.relkind, quote_ident(n.nspname), quote_ident(c.relname), s.spcname)
    AS line
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_tablespace s ON s.oid = c.reltablespace
  WHERE {_ours("n", "pg_class", "c.oid")}
  UNION ALL
  SELECT concat_ws(' ', 'database', s.spcname)
  FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
  WHERE d.datname = current_database() AND s.spcname <> 'pg_default'
) p
"""
DATABASE = f"""
SELECT format('database %I', d.datname), concat_ws(' ',
  pg_encoding_to_char(d.encoding) || ' ' || d.datcollate || ' ' || d.datctype
    || ', owner ' || pg_get_userbyid(d.datdba) || ',',
  md5(concat_ws('|', to_jsonb(d) ->> 'datlocprovider',
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
    d.datistemplate, d.datconnlimit, {_acl("d.datacl", "d", "d.datdba")},
    (SELECT string_agg(concat_ws(' ', coalesce(quote_ident(r.rolname), '-'),
        (SELECT string_agg(s, ',' ORDER BY s) FROM unnest(g.setconfig) s)), ';'
        ORDER BY coalesce(r.rolname, '') COLLATE "C")
       FROM pg_db_role_setting g LEFT JOIN pg_roles r ON r.oid = g.setrole
      WHERE g.setdatabase = d.oid),
    shobj_description(d.oid, 'pg_database'))))
FROM pg_database d WHERE d.datname = current_database()
"""
# A digest of a password's verifier is enough to check that it was restored. A role without an
# end has 'infinity' after an end was set and removed again.
_ROLES = """
SELECT format('role %I', r.rolname), concat_ws(' ',
  concat(r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
    r.rolreplication, r.rolbypassrls), r.rolconnlimit,
  'until ' || CASE WHEN isfinite(r.rolvaliduntil) THEN r.rolvaliduntil::text ELSE 'ever' END,
  md5(concat_ws('|',
    CASE WHEN r.rolname = current_user THEN '' ELSE coalesce(a.rolpassword, 'none') END,
    (SELECT string_agg(s, ',' ORDER BY s) FROM unnest(r.rolconfig) s),
    (SELECT string_agg(concat_ws(' ', pg_get_userbyid(m.roleid), m.admin_option,
        to_jsonb(m) ->> 'inherit_option', to_jsonb(m) ->> 'set_option'), ','
        ORDER BY pg_get_userbyid(m.roleid) COLLATE "C")
       FROM pg_auth_members m WHERE m.member = r.oid),
    shobj_description(r.oid, 'pg_authid'), {parameters})))
FROM pg_roles r JOIN pg_authid a ON a.oid = r.oid
WHERE r.rolname !~ '^pg_' ORDER BY 1
"""
# The cluster's first superuser (10) owns all parameters.
_PARAMETERS = """
    (SELECT string_agg(concat_ws(' ', p.parname, g.privilege_type, g.is_grantable), ','
        ORDER BY p.parname COLLATE "C", g.privilege_type)
       FROM pg_parameter_acl p, aclexplode(p.paracl) g WHERE g.grantee = r.oid AND r.oid <> 10)
"""


def roles_query(server_version: int) -> str:
    """Return the query for the roles of a server of this version (``160004``)."""
    return _ROLES.format(parameters=_PARAMETERS if server_version >= 150000 else "NULL")


TABLESPACES = f"""
SELECT format('tablespace %I', s.spcname), concat_ws(', ', 'owner ' || pg_get_userbyid(s.spcowner),
  (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(s.spcoptions) o),
  {_acl("s.spcacl", "t", "s.spcowner")})
FROM pg_tablespace s WHERE s.spcname !~ '^pg_'
"""
PRESENT = """
SELECT format('database %I', datname) FROM pg_database
UNION ALL SELECT format('role %I', rolname) FROM pg_roles
"""
# Settings of ALTER SYSTEM, including settings that aren't in effect yet.
SYSTEM_SETTINGS = """
SELECT DISTINCT ON (name) name, setting FROM pg_file_settings
WHERE sourcefile ~ '/postgresql\\.auto\\.conf$' ORDER BY name, seqno DESC
"""
POPULATED = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid
"""
# Whether template1 was changed after initdb: new databases are created from it.
TEMPLATE_CHANGED = f"""
SELECT EXISTS (SELECT FROM pg_class WHERE oid >= {_FIRST_USER_OID} AND relkind NOT IN ('t', 'i'))
  OR EXISTS (SELECT FROM pg_proc WHERE oid >= {_FIRST_USER_OID})
  OR EXISTS (SELECT FROM pg_type WHERE oid >= {_FIRST_USER_OID})
  OR EXISTS (SELECT FROM pg_namespace WHERE oid >= {_FIRST_USER_OID} AND nspname !~ '^pg_')
  OR EXISTS (SELECT FROM pg_extension WHERE oid >= {_FIRST_USER_OID})
  OR EXISTS (SELECT FROM pg_largeobject_metadata)
  OR EXISTS (SELECT FROM pg_default_acl)
  OR EXISTS (SELECT FROM pg_event_trigger)
  OR EXISTS (SELECT FROM pg_db_role_setting g JOIN pg_database d ON d.oid = g.setdatabase
              WHERE d.datname = 'template1')
  OR EXISTS (SELECT FROM pg_namespace n LEFT JOIN pg_init_privs i
               ON i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid
              WHERE n.nspname = 'public' AND n.nspacl IS DISTINCT FROM i.initprivs)
"""
