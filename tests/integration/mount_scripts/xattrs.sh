# Extended attributes of all sizes, also of those that travel apart from their names.
for size in 1 8192 8193 60000; do
    touch f$size; setfattr -n user.v -v "$(head -c $size /dev/zero | tr '\0' x)" f$size
    getfattr --only-values -n user.v f$size | wc -c; getfattr f$size
done
cp --preserve=all f60000 copy && getfattr --only-values -n user.v copy | sha256sum
setfattr -x user.v f8193; getfattr -n user.v f8193; getfattr -d f8193
