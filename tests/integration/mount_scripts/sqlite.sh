cat > t.py <<X
import multiprocessing, sqlite3, sys
def work(number):
    db = sqlite3.connect("db", timeout=100)
    for n in range(5):
        with db: db.execute("insert into t values (?, ?)", (number, n))
    db.close()
for mode in ("wal", "delete", "truncate"):
    db = sqlite3.connect("db", timeout=100)
    print(db.execute(f"pragma journal_mode={mode}").fetchone())
    db.execute("drop table if exists t"); db.execute("create table t (a, b)"); db.commit(); db.close()
    workers = [multiprocessing.Process(target=work, args=(n,)) for n in range(4)]
    [each.start() for each in workers]; [each.join() for each in workers]
    db = sqlite3.connect("db")
    print(db.execute("select count(*), sum(b) from t").fetchone(), db.execute("pragma integrity_check").fetchone())
    db.close()
X
python3 t.py; ls
