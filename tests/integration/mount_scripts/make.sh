printf '#include <stdio.h>\nint main(void) { printf("hi\\n"); return 0; }\n' > t.c
printf 'all: t\nt: t.o\n\tcc -o t t.o\nt.o: t.c\n\tcc -c t.c\n' > Makefile
make; ./t; make; touch t.c; make; rm t t.o
