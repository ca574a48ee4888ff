# A package is installed into a directory, replaced there, and used.
mkdir -p source/thing
cat > source/pyproject.toml <<X
[project]
name = "thing"
version = "1.0"
scripts = {thing = "thing:main"}
X
printf 'def main():\n    print("it works")\n' > source/thing/__init__.py
python3 - <<X
import pathlib, zipfile
about = "thing-1.0.dist-info"
with zipfile.ZipFile("thing-1.0-py3-none-any.whl", "w") as wheel:
    wheel.write("source/thing/__init__.py", "thing/__init__.py")
    wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{about}/entry_points.txt", "[console_scripts]\nthing = thing:main\n")
    names = ["thing/__init__.py", *(f"{about}/{n}" for n in ("METADATA", "WHEEL", "entry_points.txt", "RECORD"))]
    wheel.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in names))
X
pip() { python3 -m pip --disable-pip-version-check --quiet "$@" --no-index --no-deps; }
pip install --target target thing-1.0-py3-none-any.whl
pip install --target target --upgrade thing-1.0-py3-none-any.whl
PYTHONPATH=target python3 -c 'import thing; thing.main()'
find target -not -name '*.pyc' | sort
df --output=target . | sed "s|$PWD|HERE|" | wc -l
rm -rf target *.whl source
