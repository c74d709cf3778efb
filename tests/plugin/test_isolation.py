"""What one test leaves behind, the next does not see."""

from __future__ import annotations

import pytest

SQL = """
    import psycopg, pytest
    from pytest_aistorage import AIProgress, Capability

    RECORD = AIProgress(model_name="m", mse=0.5)

    @pytest.fixture
    def db(ai_storage_url):
        with psycopg.connect(ai_storage_url, autocommit=True) as connection:
            yield connection

    def count(db, table):
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
"""


@pytest.fixture
def passes(pytester, run, local_postgres):
    """Write tests, run them on PostgreSQL, and see that all pass."""

    def passes(body, number, *arguments):
        pytester.makepyfile(SQL + body)
        result = run("--ai-storage=postgres", *arguments)
        result.assert_outcomes(passed=number)
        return result

    return passes


BOTH = """
    import pytest
    from pytest_aistorage import AIProgress

    @pytest.mark.parametrize("i", range(3))
    def test_it(i, ai_storage, ai_storage_opener, ai_storage_url):
        assert ai_storage.load_progress() == []
        ai_storage.save_progress(AIProgress(model_name="m", mse=0.5))
        with ai_storage_opener() as other:
            assert other.get_progress("m").version == 1
"""


@pytest.mark.parametrize("isolation", ["tables", "database"])
def test_every_backend(pytester, run, local_postgres, local_redis, local_mysql, isolation):
    """Each test finds an empty storage, and another client finds what it wrote."""
    pytester.makepyfile(BOTH)
    result = run(
        "--ai-storage=memory,file,sqlite,postgres,redis,mysql,hybrid", f"--ai-storage-isolation={isolation}"
    )
    result.assert_outcomes(passed=21)


def test_database_isolation_by_ini(pytester, passes):
    """With a database for each test, tables of the application's go, too, and no two tests meet in one."""
    pytester.makeini("[pytest]\nai_storage_isolation = database")
    passes(
        """
    @pytest.mark.parametrize("i", range(2))
    def test_it(i, db):
        assert db.execute("SELECT to_regclass('mine')").fetchone()[0] is None
        db.execute("CREATE TABLE mine (id int)")
        (oid,) = db.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
        assert oid not in SEEN
        SEEN.add(oid)

    SEEN = set()
""",
        2,
    )


@pytest.mark.parametrize("isolation", ["tables", "database"])
def test_redis_keys_of_the_application(pytester, run, local_redis, isolation):
    """Every key of the test's own logical database goes; no other database is touched."""
    pytester.makepyfile(
        """
        import pytest, redis

        @pytest.mark.parametrize("i", range(2))
        def test_it(i, ai_storage_url, redis_server):
            other = redis.Redis.from_url(redis_server.url)
            assert other.get("keep") == (b"it" if i else None)
            other.set("keep", "it")
            mine = redis.Redis.from_url(ai_storage_url)
            assert mine.dbsize() == 0
            mine.set("a", 1)
            mine.client_kill_filter(skipme=True)
        """
    )
    run("--ai-storage=redis", f"--ai-storage-isolation={isolation}").assert_outcomes(passed=2)


def test_tables_of_the_application(passes):
    """Its tables are emptied and its sequences begin anew, also where foreign keys refer in a circle."""
    passes(
        """
    @pytest.mark.parametrize("i", range(3))
    def test_it(i, db):
        db.execute('''
            CREATE SCHEMA IF NOT EXISTS "Sch ema";
            CREATE TABLE IF NOT EXISTS a (id serial PRIMARY KEY, b int);
            CREATE TABLE IF NOT EXISTS "Sch ema"."B 'b'" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                a int NOT NULL REFERENCES a);
            CREATE SEQUENCE IF NOT EXISTS own START 7;
        ''')
        if i == 0:
            db.execute('ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES "Sch ema"."B \\'b\\'"')
        assert count(db, "a") == count(db, '''"Sch ema"."B 'b'"''') == 0
        db.execute("INSERT INTO a DEFAULT VALUES")
        db.execute('''INSERT INTO "Sch ema"."B 'b'" (a) VALUES (1)''')
        db.execute("UPDATE a SET b = 1")
        assert db.execute("SELECT nextval('own')").fetchone()[0] == 7
""",
        3,
    )


def test_partitions_views_and_triggers(passes):
    """Partitions are emptied, materialized views refreshed, and no trigger or rule keeps a row."""
    passes(
        """
    @pytest.mark.parametrize("i", range(3))
    def test_it(i, db):
        if i == 0:
            db.execute('''
                CREATE TABLE part (k int) PARTITION BY RANGE (k);
                CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
                CREATE TABLE audit (id int);
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE 'append only'; END $$;
                CREATE TRIGGER refuse BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse();
                CREATE RULE keep AS ON DELETE TO part_1 DO INSTEAD NOTHING;
                CREATE MATERIALIZED VIEW seen AS SELECT * FROM audit;
            ''')
        assert count(db, "part") == count(db, "audit") == count(db, "seen") == 0
        db.execute("INSERT INTO part VALUES (1); INSERT INTO audit VALUES (1); REFRESH MATERIALIZED VIEW seen")
""",
        3,
    )


def test_large_tables(passes):
    """A table that has grown large is truncated, with what refers to it; its next rows are found gone, too."""
    passes(
        """
    @pytest.mark.parametrize("i", range(4))
    def test_it(i, db):
        db.execute("CREATE TABLE IF NOT EXISTS big (id int PRIMARY KEY, t text)")
        db.execute("CREATE TABLE IF NOT EXISTS small (id int REFERENCES big)")
        assert count(db, "big") == count(db, "small") == 0
        n = 20_000 if i == 1 else 1
        db.execute(f"INSERT INTO big SELECT n, repeat('x', 100) FROM generate_series(1, {n}) n")
        db.execute("INSERT INTO small VALUES (1)")
        if i == 2:
            assert db.execute("SELECT pg_relation_size('big')").fetchone()[0] < 100_000
""",
        4,
    )


def test_tables_that_stay(passes):
    """What migration tools and the ini option name is left alone."""
    passes(
        """
    @pytest.mark.parametrize("i", range(2))
    def test_it(i, db):
        for table in ("alembic_version", "lookup_a"):
            db.execute(f"CREATE TABLE IF NOT EXISTS {table} (id serial)")
            assert count(db, table) == i
            db.execute(f"INSERT INTO {table} DEFAULT VALUES")
            assert db.execute(f"SELECT max(id) FROM {table}").fetchone()[0] == i + 1
""",
        2,
        "-o",
        "ai_storage_kept_tables=alembic_version lookup_*",
    )


def test_transaction_left_open(passes):
    """A transaction that is still open neither stops the next test nor writes into it."""
    passes(
        """
    LEFT = []

    @pytest.mark.parametrize("lock", ["row", "table", "uncommitted", "none"])
    def test_it(lock, ai_storage, ai_storage_url):
        assert ai_storage.load_progress() == []
        for connection in LEFT:
            with pytest.raises(psycopg.OperationalError):
                connection.commit()
        LEFT.clear()
        ai_storage.save_progress(RECORD)
        connection = psycopg.connect(ai_storage_url)
        if lock == "row":
            connection.execute("SELECT * FROM ai_progress FOR UPDATE")
        elif lock == "table":
            connection.execute("LOCK TABLE ai_progress IN ACCESS EXCLUSIVE MODE")
        elif lock == "uncommitted":
            connection.execute("UPDATE ai_progress SET mse = 1")
        if lock != "none":
            LEFT.append(connection)
        else:
            connection.close()
""",
        4,
    )


def test_storage_tables_changed(passes):
    """However a test leaves the storage's own tables, the next one finds them as they were."""
    passes(
        """
    @pytest.mark.parametrize("statement", [
        "DROP TABLE ai_progress",
        "DROP TABLE ai_progress, ai_progress_versions",
        "ALTER TABLE ai_progress DROP COLUMN metadata",
        "ALTER TABLE ai_progress RENAME COLUMN mse TO error",
        "ALTER TABLE ai_progress ADD COLUMN mine int NOT NULL DEFAULT 1",
        "ALTER TABLE ai_progress ALTER training_samples TYPE text",
        "ALTER TABLE ai_progress RENAME TO old",
        "ALTER TABLE ai_progress DROP CONSTRAINT ai_progress_model_name_key",
        "DELETE FROM ai_progress; ALTER TABLE ai_progress ALTER accuracy SET NOT NULL",
        "CREATE VIEW v AS SELECT * FROM ai_progress; ALTER TABLE ai_progress DROP COLUMN id CASCADE",
        "CREATE SCHEMA s; CREATE TABLE s.ai_progress (x int); INSERT INTO s.ai_progress VALUES (1)",
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
        "CREATE TEMP TABLE t (id int); SELECT 1",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database()",
        "TRUNCATE ai_progress",
        "ALTER TABLE ai_progress RENAME TO old; CREATE VIEW ai_progress AS SELECT 1",
    ])
    def test_it(statement, ai_storage, db):
        assert ai_storage.load_progress() == []
        assert ai_storage.save_progress(RECORD).version == 1
        db.execute(statement)

    def test_last(ai_storage):
        assert ai_storage.save_progress(RECORD).version == 1
""",
        17,
    )


def test_database_dropped(passes):
    """Even the database may go."""
    passes(
        """
    def test_drop(ai_storage, ai_storage_url, postgres_server):
        ai_storage.save_progress(RECORD)
        with psycopg.connect(postgres_server.url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {ai_storage_url.rpartition('/')[2]} WITH (FORCE)")

    def test_next(ai_storage):
        assert ai_storage.save_progress(RECORD).version == 1
""",
        2,
    )


def test_without_a_superuser(pytester, run, local_postgres, postgres_server):
    """On a server where we are no superuser, foreign keys decide the order; circles are truncated."""
    import psycopg

    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS aistorage_plain")
        admin.execute("CREATE ROLE aistorage_plain LOGIN CREATEDB PASSWORD 'pw1'")
    url = postgres_server.url.partition("@")[2]
    pytester.makepyfile(
        SQL
        + """
    @pytest.mark.parametrize("i", range(3))
    def test_it(i, db):
        if i == 0:
            db.execute('''
                CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a);
                CREATE TABLE c (id int PRIMARY KEY REFERENCES b);
                CREATE TABLE own (id int PRIMARY KEY, up int REFERENCES own);
                CREATE TABLE x (id int PRIMARY KEY); CREATE TABLE y (id int PRIMARY KEY REFERENCES x);
                ALTER TABLE x ADD FOREIGN KEY (id) REFERENCES y DEFERRABLE INITIALLY DEFERRED;
            ''')
        for table in "a", "b", "c", "own", "x", "y":
            assert count(db, table) == 0
        db.execute("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1); "
                   "INSERT INTO own VALUES (1, 1); INSERT INTO x VALUES (1); INSERT INTO y VALUES (1)")
"""
    )
    try:
        result = run(
            "--ai-storage=postgres",
            "--ai-storage-servers=url",
            f"--ai-storage-url=postgres=postgresql://aistorage_plain:pw1@{url}",
        )
        result.assert_outcomes(passed=3)
        assert "pw1" not in result.stdout.str()
    finally:
        with psycopg.connect(postgres_server.url, autocommit=True) as admin:
            admin.execute("DROP ROLE aistorage_plain")


def test_mysql(pytester, run, local_mysql):
    """On MySQL and MariaDB likewise: foreign keys, new tables, open transactions, changed and dropped tables."""
    pytester.makepyfile(
        """
        import pymysql, pytest
        from pytest_aistorage import AIProgress
        from pytest_aistorage.config import StorageURL

        def connect(url):
            u = StorageURL.parse(url)
            return pymysql.connect(
                host=u.host, port=u.port, user=u.username, password=u.password, database=u.path[1:]
            )

        LEFT = []

        @pytest.mark.parametrize("statements", [
            ["CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int, FOREIGN KEY (id) REFERENCES a (id))",
             "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)"],
            ["INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)", "SELECT * FROM b FOR UPDATE"],
            ["LOCK TABLES ai_progress WRITE"],
            ["ALTER TABLE ai_progress DROP COLUMN accuracy"],
            ["DROP TABLE ai_progress"],
            ["DROP TABLE ai_progress_versions", "CREATE TABLE `we``ird` (id int)",
             "INSERT INTO `we``ird` VALUES (1)"],
            [],
        ])
        def test_it(statements, ai_storage, ai_storage_url):
            assert ai_storage.save_progress(AIProgress(model_name="m", mse=0.5)).version == 1
            connection = connect(ai_storage_url)
            cursor = connection.cursor()
            cursor.execute("SHOW TABLES LIKE 'we`ird'")
            if cursor.fetchall():
                assert cursor.execute("SELECT * FROM `we``ird`") == 0
            for statement in statements:
                cursor.execute(statement)
            if statements and statements[0].startswith(("LOCK", "INSERT")):
                LEFT.append(connection)
            else:
                connection.commit()
                connection.close()
        """
    )
    run("--ai-storage=mysql").assert_outcomes(passed=7)
