# copy_file_range between files and within one, at offsets that fit no block.
head -c 9000001 /dev/zero | tr '\0' 'a' > a
seq 1 400000 > b
python3 - <<'PROGRAM'
import os

def copy(source, target, count, at, to):
    with open(source, "rb") as one, open(target, "r+b") as other:
        done = 0
        while done < count:
            more = os.copy_file_range(one.fileno(), other.fileno(), count - done, at + done, to + done)
            if not more:
                break
            done += more
    print(source, target, done)

copy("b", "a", 1 << 40, 0, 0)
copy("b", "a", 1000000, 77, 4200001)
copy("b", "a", 5, 0, 9000001)
copy("b", "a", 70000, 1, 12000000)
copy("a", "a", 300000, 0, 6000000)
copy("a", "b", 0, 0, 0)
copy("b", "b", 100, 10**9, 0)
try:
    with open("a", "r+b") as both:
        os.copy_file_range(both.fileno(), both.fileno(), 1000, 0, 500)
except OSError as error:
    print(error.strerror)
PROGRAM
sha256sum a b
cp b c && cmp b c && truncate -s 30M hole && cp --sparse=never hole d && cmp hole d && echo same
