mkdir -p a/b/c/d; for n in $(seq 200); do echo $n > a/b/f$n; done; find a -type f | wc -l
du -a --apparent-size a | wc -l; mv a/b/c z; mv z a/; find a -name 'f1*' | sort | head -5
cd a/b; ls | sort | md5sum; cd ../..; find a -name 'f*9' -delete; ls a/b | wc -l
chmod -R go-rwx a; find a -perm /077 | wc -l; cp -r a copy; rm -rf a; ls; rm -rf copy
mkdir one two; touch one/x; mv one/x two/; rmdir one; mv two one; ls one
