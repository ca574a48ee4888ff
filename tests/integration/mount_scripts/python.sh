python3 -m venv --without-pip v; v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'
v/bin/python - <<X
import dbm.dumb, json, pathlib, pickle, shelve, shutil, tempfile, zipfile
with shelve.open("shelf") as shelf:
    shelf["a"] = [1, 2]
with shelve.open("shelf") as shelf:
    print(shelf["a"])
with tempfile.TemporaryDirectory(dir=".") as where:
    pathlib.Path(where, "x").write_text("y")
    shutil.make_archive("z", "zip", where)
print(zipfile.ZipFile("z.zip").namelist())
with tempfile.NamedTemporaryFile(dir=".") as file:
    file.write(b"1"); file.flush(); print(pathlib.Path(file.name).read_bytes())
shutil.copytree("v", "w", symlinks=True); shutil.rmtree("w")
X
rm -rf v; ls | sort
