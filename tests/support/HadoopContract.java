import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileRange;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.ParentNotDirectoryException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.PathIsNotEmptyDirectoryException;
import org.apache.hadoop.fs.RemoteIterator;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * What Hadoop's specification of a file system asks of one that is like HDFS.
 *
 * "HadoopContract URL" runs every case in a directory of its own below URL and prints "ok NAME" or
 * "FAILED NAME: why". Where the specification leaves a choice, HDFS's answer is wanted: rename
 * returns false for what is missing or in the way, errors are of the strictest class that HDFS
 * gives over WebHDFS.
 */
public final class HadoopContract {
  private interface Case {
    void run(FileSystem fs, Path top) throws Exception;
  }

  private interface Call {
    Object run() throws Exception;
  }

  private static final Map<String, Case> CASES = new LinkedHashMap<>();

  public static void main(String[] arguments) throws Exception {
    creating();
    deleting();
    makingDirectories();
    opening();
    appending();
    renaming();
    seeking();
    vectors();
    unbuffering();
    concatenating();
    looking();
    times();
    root();
    handles();
    Path base = new Path(arguments[0]);
    FileSystem fs = base.getFileSystem(new Configuration());
    int number = 0;
    for (Map.Entry<String, Case> each : CASES.entrySet()) {
      Path top = new Path(base, "case-" + number++);
      fs.mkdirs(top);
      try {
        each.getValue().run(fs, top);
        System.out.println("ok " + each.getKey());
      } catch (Throwable error) {
        StackTraceElement[] stack = error.getStackTrace();
        int line = 0;
        for (StackTraceElement frame : stack) {
          if (frame.getMethodName().startsWith("lambda") && line == 0) {
            line = frame.getLineNumber();
          }
        }
        System.out.println("FAILED " + each.getKey() + ": line " + line + ": " + error);
      }
    }
  }

  // --- the cases ---------------------------------------------------------------------------------

  private static void creating() {
    for (boolean builder : new boolean[] {false, true}) {
      String how = builder ? ", by a builder" : "";
      add("create/new file" + how, (fs, top) -> {
        Path file = new Path(top, "f");
        write(fs, file, bytes(256), false, builder);
        same(bytes(256), content(fs, file));
      });
      add("create/over a file without overwrite" + how, (fs, top) -> {
        Path file = new Path(top, "f");
        write(fs, file, bytes(256), false, builder);
        fails(FileAlreadyExistsException.class, () -> write(fs, file, bytes(9999), false, builder));
        same(bytes(256), content(fs, file));
      });
      add("create/overwrite" + how, (fs, top) -> {
        Path file = new Path(top, "f");
        write(fs, file, bytes(256), false, builder);
        write(fs, file, bytes(9999), true, builder);
        same(bytes(9999), content(fs, file));
        write(fs, file, bytes(10), true, builder);
        same(bytes(10), content(fs, file));
      });
      add("create/over an empty directory" + how, (fs, top) -> {
        fails(FileAlreadyExistsException.class, () -> write(fs, top, bytes(9), true, builder));
        check(fs.getFileStatus(top).isDirectory());
      });
      add("create/over a directory" + how, (fs, top) -> {
        write(fs, new Path(top, "f"), bytes(9));
        fails(FileAlreadyExistsException.class, () -> write(fs, top, bytes(9), true, builder));
        check(fs.getFileStatus(new Path(top, "f")).isFile());
      });
    }
    add("create/visible at once", (fs, top) -> {
      Path file = new Path(top, "f");
      try (FSDataOutputStream out = fs.create(file, false, 4096, (short) 1, 1 << 20)) {
        out.write('a');
        out.flush();
        appears(fs, file); // over HTTP the request is on its way when create() returns
      }
      same(new byte[] {'a'}, content(fs, file));
    });
    add("create/synced", (fs, top) -> {
      Path file = new Path(top, "f");
      try (FSDataOutputStream out = fs.create(file)) {
        out.write('a');
        out.hflush();
        out.hsync();
        out.write('b');
        equal(2L, out.getPos());
      }
      same(new byte[] {'a', 'b'}, content(fs, file));
    });
    add("create/closed twice, then written", (fs, top) -> {
      FSDataOutputStream out = fs.create(new Path(top, "f"));
      out.write('a');
      out.close();
      out.close();
      fails(IOException.class, () -> { out.write('b'); out.flush(); return null; });
      same(new byte[] {'a'}, content(fs, new Path(top, "f")));
    });
    add("create/block size", (fs, top) -> {
      write(fs, new Path(top, "f"), bytes(256));
      check(fs.getFileStatus(new Path(top, "f")).getBlockSize() >= 1);
      check(fs.getDefaultBlockSize(top) >= 1);
      fs.create(new Path(top, "empty")).close();
      check(fs.getFileStatus(new Path(top, "empty")).getBlockSize() >= 0);
    });
    add("create/parents are made", (fs, top) -> {
      write(fs, new Path(top, "a/b/c"), bytes(1));
      equal(1, fs.listStatus(new Path(top, "a/b")).length);
      equal(1, fs.listStatus(new Path(top, "a")).length);
      check(fs.getFileStatus(new Path(top, "a/b")).isDirectory());
    });
    add("create/not recursive", (fs, top) -> {
      Path file = new Path(top, "a/f");
      fails(FileNotFoundException.class,
          () -> fs.createNonRecursive(file, false, 4096, (short) 1, 1 << 20, null));
      check(!fs.exists(new Path(top, "a")));
      fs.mkdirs(file.getParent());
      fs.createNonRecursive(file, false, 4096, (short) 1, 1 << 20, null).close();
      check(fs.exists(file));
    });
    add("create/under a file", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(5));
      for (String below : new String[] {"f/g", "f/g/h"}) {
        fails(ParentNotDirectoryException.class, () -> write(fs, new Path(top, below), bytes(1)));
        fails(ParentNotDirectoryException.class, () -> fs.mkdirs(new Path(top, below)));
      }
      same(bytes(5), content(fs, file));
    });
  }

  private static void deleting() {
    for (boolean recursive : new boolean[] {false, true}) {
      String how = recursive ? ", recursively" : "";
      add("delete/empty directory" + how, (fs, top) -> {
        check(fs.delete(top, recursive));
        check(!fs.exists(top));
      });
      add("delete/what is missing" + how, (fs, top) -> {
        check(!fs.delete(new Path(top, "none"), recursive));
        check(!fs.delete(new Path(top, "none/none"), recursive));
      });
      add("delete/file" + how, (fs, top) -> {
        write(fs, new Path(top, "f"), bytes(5));
        check(fs.delete(new Path(top, "f"), recursive));
        check(!fs.exists(new Path(top, "f")));
        check(!fs.delete(new Path(top, "f"), recursive));
      });
    }
    add("delete/directory that is not empty", (fs, top) -> {
      write(fs, new Path(top, "d/f"), bytes(5));
      Path directory = new Path(top, "d");
      fails(PathIsNotEmptyDirectoryException.class, () -> fs.delete(directory, false));
      check(fs.exists(new Path(top, "d/f")));
      check(fs.delete(directory, true));
      check(!fs.exists(directory) && fs.exists(top));
    });
    add("delete/deep tree", (fs, top) -> {
      fs.mkdirs(new Path(top, "a/b/c/d/e/f/g/h"));
      write(fs, new Path(top, "a/b/c/f"), bytes(5));
      check(fs.delete(new Path(top, "a"), true));
      check(!fs.exists(new Path(top, "a/b/c/f")) && !fs.exists(new Path(top, "a")));
    });
  }

  private static void makingDirectories() {
    add("mkdirs/again", (fs, top) -> {
      Path made = new Path(top, "a/b");
      check(fs.mkdirs(made) && fs.mkdirs(made));
      check(fs.getFileStatus(made).isDirectory());
      check(fs.delete(made, false) && fs.exists(new Path(top, "a")));
    });
    add("mkdirs/over a file", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(5));
      fails(FileAlreadyExistsException.class, () -> fs.mkdirs(file));
      same(bytes(5), content(fs, file));
    });
    add("mkdirs/spellings", (fs, top) -> {
      check(fs.mkdirs(new Path(top + "/a/b/../c/")));
      check(fs.mkdirs(new Path(top + "/d//e")));
      check(fs.mkdirs(new Path(top + "/a/./g")));
      equal("[a, d]", names(fs, top));
      equal("[c, g]", names(fs, new Path(top, "a")));
    });
    add("mkdirs/permission", (fs, top) -> {
      FsPermission permission = new FsPermission((short) 0750);
      check(fs.mkdirs(new Path(top, "d"), permission));
      equal(permission, fs.getFileStatus(new Path(top, "d")).getPermission());
    });
    add("mkdirs/the root", (fs, top) -> check(fs.mkdirs(new Path("/"))));
  }

  private static void opening() {
    add("open/empty file", (fs, top) -> {
      fs.create(new Path(top, "f")).close();
      try (FSDataInputStream in = fs.open(new Path(top, "f"))) {
        equal(-1, in.read());
        equal(-1, in.read(new byte[10]));
        equal(0L, in.getPos());
      }
    });
    add("open/directory", (fs, top) -> fails(FileNotFoundException.class, () -> firstByte(fs, top)));
    add("open/what is missing", (fs, top) -> {
      fails(FileNotFoundException.class, () -> firstByte(fs, new Path(top, "f")));
      fails(FileNotFoundException.class, () -> firstByte(fs, new Path(top, "d/f")));
      write(fs, new Path(top, "f"), bytes(1));
      fails(IOException.class, () -> firstByte(fs, new Path(top, "f/f")));
    });
    add("open/two readers", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(1000));
      try (FSDataInputStream one = fs.open(file); FSDataInputStream other = fs.open(file)) {
        for (int i = 0; i < 1000; i++) {
          equal((int) bytes(1000)[i] & 255, one.read());
          equal((int) bytes(1000)[i] & 255, other.read());
        }
        one.close();
        one.close();
        equal(-1, other.read());
      }
    });
    add("open/by a builder", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(1000));
      FileStatus status = fs.getFileStatus(file);
      byte[] found = new byte[1000];
      try (FSDataInputStream in = fs.openFile(file).withFileStatus(status)
          .opt("fs.option.openfile.read.policy", "sequential").build().get()) {
        in.readFully(found);
      }
      same(bytes(1000), found);
      fails(IllegalArgumentException.class, () -> fs.openFile(file).must("no.such", "x").build());
    });
    add("open/deleted while it is read", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(100));
      try (FSDataInputStream in = fs.open(file)) {
        equal((int) bytes(100)[0] & 255, in.read());
        check(fs.delete(file, false));
        equal((int) bytes(100)[1] & 255, in.read());
      }
      check(!fs.exists(file));
    });
  }

  private static void appending() {
    add("append/what is missing", (fs, top) ->
        fails(FileNotFoundException.class, () -> append(fs, new Path(top, "f"), bytes(1))));
    add("append/directory", (fs, top) ->
        fails(IOException.class, () -> append(fs, top, bytes(1))));
    add("append/empty file", (fs, top) -> {
      fs.create(new Path(top, "f")).close();
      append(fs, new Path(top, "f"), bytes(5000));
      same(bytes(5000), content(fs, new Path(top, "f")));
    });
    add("append/several times", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(100));
      append(fs, file, bytes(200));
      try (FSDataOutputStream out = fs.appendFile(file).build()) {
        out.write(bytes(50));
      }
      same(joined(bytes(100), bytes(200), bytes(50)), content(fs, file));
      equal(350L, fs.getFileStatus(file).getLen());
    });
    add("append/renamed meanwhile", (fs, top) -> {
      Path file = new Path(top, "f");
      Path moved = new Path(top, "g");
      write(fs, file, bytes(100));
      byte[] wanted = joined(bytes(100), bytes(50));
      try (FSDataOutputStream out = fs.append(file)) {
        out.write(bytes(50));
        check(fs.rename(file, moved));
      } catch (FileNotFoundException late) { // renamed before the request came: all or nothing
        wanted = bytes(100);
      }
      check(!fs.exists(file));
      same(wanted, content(fs, moved));
    });
  }

  private static void renaming() {
    add("rename/file", (fs, top) -> {
      write(fs, new Path(top, "f"), bytes(256));
      check(fs.rename(new Path(top, "f"), new Path(top, "g")));
      equal("[g]", names(fs, top));
      same(bytes(256), content(fs, new Path(top, "g")));
    });
    add("rename/what is missing", (fs, top) -> {
      check(!fs.rename(new Path(top, "none"), new Path(top, "g")));
      equal("[]", names(fs, top));
    });
    add("rename/over a file", (fs, top) -> {
      write(fs, new Path(top, "f"), bytes(256));
      write(fs, new Path(top, "g"), bytes(512));
      check(!fs.rename(new Path(top, "f"), new Path(top, "g")));
      same(bytes(512), content(fs, new Path(top, "g")));
      same(bytes(256), content(fs, new Path(top, "f")));
    });
    add("rename/onto itself", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(5));
      check(fs.rename(file, file));
      same(bytes(5), content(fs, file));
      check(!fs.rename(top, top));
      check(!fs.rename(top, new Path(top, "below")));
      check(fs.exists(file));
    });
    add("rename/into a directory", (fs, top) -> {
      write(fs, new Path(top, "source/f"), bytes(256));
      write(fs, new Path(top, "dest/g"), bytes(512));
      check(fs.rename(new Path(top, "source"), new Path(top, "dest")));
      same(bytes(512), content(fs, new Path(top, "dest/g")));
      same(bytes(256), content(fs, new Path(top, "dest/source/f")));
      check(!fs.exists(new Path(top, "source")));
    });
    add("rename/into an empty directory", (fs, top) -> {
      write(fs, new Path(top, "source/sub/f"), bytes(256));
      fs.mkdirs(new Path(top, "dest"));
      check(fs.rename(new Path(top, "source"), new Path(top, "dest")));
      same(bytes(256), content(fs, new Path(top, "dest/source/sub/f")));
    });
    add("rename/to a directory that is missing", (fs, top) -> {
      write(fs, new Path(top, "f"), bytes(256));
      check(!fs.rename(new Path(top, "f"), new Path(top, "no/f")));
      same(bytes(256), content(fs, new Path(top, "f")));
    });
    add("rename/under a file", (fs, top) -> {
      write(fs, new Path(top, "f"), bytes(5));
      write(fs, new Path(top, "g"), bytes(6));
      for (String target : new String[] {"g/h", "g/h/i"}) {
        boolean renamed;
        try {
          renamed = fs.rename(new Path(top, "f"), new Path(top, target));
        } catch (ParentNotDirectoryException allowed) {
          renamed = false;
        }
        check(!renamed);
      }
      same(bytes(5), content(fs, new Path(top, "f")));
      same(bytes(6), content(fs, new Path(top, "g")));
    });
    add("rename/what is below moves along", (fs, top) -> {
      write(fs, new Path(top, "a/1/2/3/f"), bytes(5));
      check(fs.rename(new Path(top, "a"), new Path(top, "b")));
      check(!fs.exists(new Path(top, "a/1")) && !fs.exists(new Path(top, "a")));
      same(bytes(5), content(fs, new Path(top, "b/1/2/3/f")));
    });
  }

  private static void seeking() {
    add("seek/empty file", (fs, top) -> {
      fs.create(new Path(top, "f")).close();
      try (FSDataInputStream in = fs.open(new Path(top, "f"))) {
        in.seek(0);
        equal(-1, in.read());
        equal(-1, in.read(new byte[1], 0, 1));
        equal(0L, in.getPos());
      }
    });
    add("seek/closed file", (fs, top) -> {
      write(fs, new Path(top, "f"), bytes(10));
      FSDataInputStream in = fs.open(new Path(top, "f"));
      in.close();
      in.close();
      fails(IOException.class, in::read);
    });
    add("seek/before the beginning", (fs, top) -> seeks(fs, top, (in, data) -> {
      in.seek(5);
      fails(IllegalArgumentException.class, () -> { in.seek(-1); return in.read(); }); // the client's
    }));
    add("seek/past the end", (fs, top) -> seeks(fs, top, (in, data) -> {
      fails(IOException.class, () -> { in.seek(data.length + 2); return in.read(); });
    }));
    add("seek/to the end and back", (fs, top) -> seeks(fs, top, (in, data) -> {
      in.seek(data.length - 1);
      equal((int) data[data.length - 1] & 255, in.read());
      equal(-1, in.read());
      in.seek(1);
      equal((int) data[1] & 255, in.read());
    }));
    add("seek/at random", (fs, top) -> seeks(fs, top, (in, data) -> {
      Random random = new Random(7);
      for (int i = 0; i < 60; i++) {
        int at = random.nextInt(data.length);
        byte[] found = new byte[Math.min(1 + random.nextInt(5000), data.length - at)];
        if (i % 2 == 0) {
          in.seek(at);
          in.readFully(found);
          equal((long) at + found.length, in.getPos());
        } else {
          long before = in.getPos();
          in.readFully(at, found);
          equal(before, in.getPos());
        }
        same(Arrays.copyOfRange(data, at, at + found.length), found);
      }
    }));
    add("seek/positioned reads", (fs, top) -> seeks(fs, top, (in, data) -> {
      in.seek(3);
      byte[] found = new byte[100];
      equal(100, fully(in, 1000, found));
      same(Arrays.copyOfRange(data, 1000, 1100), found);
      equal(3L, in.getPos());
      equal(-1, in.read(data.length, found, 0, 100));
      fails(EOFException.class, () -> { in.readFully(data.length - 1, found); return null; });
      fails(EOFException.class, () -> { in.readFully(data.length + 50L, found); return null; });
      in.readFully(data.length, new byte[0]);
      fails(IOException.class, () -> { in.readFully(-1, found); return null; });
      equal(3L, in.getPos());
      equal((int) data[3] & 255, in.read());
    }));
    add("seek/skip and available", (fs, top) -> seeks(fs, top, (in, data) -> {
      check(in.available() >= 0);
      equal(10L, in.skip(10));
      equal((int) data[10] & 255, in.read());
      check(!in.seekToNewSource(20));
    }));
  }

  private static void vectors() {
    long[][] wanted = {{0, 100}, {50_000, 1000}, {51_000, 1000}, {199_000, 1000}, {7, 1}};
    add("vectored/ranges", (fs, top) -> seeks(fs, top, (in, data) -> {
      List<FileRange> ranges = new ArrayList<>();
      for (long[] each : wanted) {
        ranges.add(FileRange.createFileRange(each[0], (int) each[1]));
      }
      ranges.remove(4); // inside the first one
      in.readVectored(ranges, ByteBuffer::allocate);
      for (FileRange each : ranges) {
        ByteBuffer found = each.getData().get();
        byte[] copied = new byte[found.remaining()];
        found.get(copied);
        int at = (int) each.getOffset();
        same(Arrays.copyOfRange(data, at, at + each.getLength()), copied);
      }
    }));
    add("vectored/past the end", (fs, top) -> seeks(fs, top, (in, data) -> {
      List<FileRange> ranges = List.of(FileRange.createFileRange(data.length - 5, 10));
      fails(IOException.class, () -> {
        in.readVectored(ranges, ByteBuffer::allocate);
        try {
          return ranges.get(0).getData().get();
        } catch (java.util.concurrent.ExecutionException error) {
          throw (Exception) error.getCause();
        }
      });
    }));
    add("vectored/before the beginning", (fs, top) -> seeks(fs, top, (in, data) ->
        fails(Exception.class, () -> {
          in.readVectored(List.of(FileRange.createFileRange(-1, 10)), ByteBuffer::allocate);
          return null;
        })));
    add("vectored/nothing", (fs, top) -> seeks(fs, top, (in, data) -> {
      in.readVectored(new ArrayList<>(), ByteBuffer::allocate);
      equal((int) data[0] & 255, in.read());
    }));
  }

  private static void unbuffering() {
    add("unbuffer/at any time", (fs, top) -> seeks(fs, top, (in, data) -> {
      in.unbuffer();
      equal((int) data[0] & 255, in.read());
      in.unbuffer();
      in.unbuffer();
      equal((int) data[1] & 255, in.read());
      in.close();
      in.unbuffer();
    }));
  }

  private static void concatenating() {
    add("concat/files", (fs, top) -> {
      Path target = new Path(top, "t");
      write(fs, target, bytes(100));
      write(fs, new Path(top, "a"), bytes(200));
      write(fs, new Path(top, "b"), bytes(300));
      fs.concat(target, new Path[] {new Path(top, "a"), new Path(top, "b")});
      same(joined(bytes(100), bytes(200), bytes(300)), content(fs, target));
      equal("[t]", names(fs, top));
    });
    add("concat/no sources", (fs, top) -> {
      write(fs, new Path(top, "t"), bytes(100));
      fails(Exception.class, () -> { fs.concat(new Path(top, "t"), new Path[0]); return null; });
      same(bytes(100), content(fs, new Path(top, "t")));
    });
    add("concat/missing target", (fs, top) -> {
      write(fs, new Path(top, "a"), bytes(100));
      Path[] sources = {new Path(top, "a")};
      fails(IOException.class, () -> { fs.concat(new Path(top, "t"), sources); return null; });
      same(bytes(100), content(fs, new Path(top, "a")));
    });
    add("concat/onto itself", (fs, top) -> {
      Path target = new Path(top, "t");
      write(fs, target, bytes(100));
      fails(Exception.class, () -> { fs.concat(target, new Path[] {target}); return null; });
      same(bytes(100), content(fs, target));
    });
  }

  private static void looking() {
    add("status/the root", (fs, top) -> {
      FileStatus root = fs.getFileStatus(new Path("/"));
      check(root.isDirectory() && !root.isFile());
      equal("/", root.getPath().toUri().getPath());
    });
    add("status/what is missing", (fs, top) -> {
      Path none = new Path(top, "none");
      fails(FileNotFoundException.class, () -> fs.getFileStatus(none));
      fails(FileNotFoundException.class, () -> fs.listStatus(none));
      fails(FileNotFoundException.class, () -> fs.listStatusIterator(none).hasNext());
      fails(FileNotFoundException.class, () -> fs.listLocatedStatus(none).hasNext());
      fails(FileNotFoundException.class, () -> fs.listFiles(none, true).hasNext());
      fails(FileNotFoundException.class, () -> fs.getContentSummary(none));
      fails(FileNotFoundException.class, () -> fs.getFileChecksum(none));
    });
    add("status/of a file", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(77));
      FileStatus[] listed = fs.listStatus(file);
      equal(1, listed.length);
      equal(fs.makeQualified(file), listed[0].getPath());
      equal(77L, listed[0].getLen());
      check(listed[0].isFile() && !listed[0].isDirectory() && !listed[0].isSymlink());
      equal("[f]", located(fs.listLocatedStatus(file)));
      equal("[f]", located(fs.listFiles(file, false)));
    });
    add("status/of an empty directory", (fs, top) -> {
      equal(0, fs.listStatus(top).length);
      check(!fs.listFiles(top, true).hasNext());
      RemoteIterator<LocatedFileStatus> none = fs.listLocatedStatus(top);
      check(!none.hasNext());
      fails(NoSuchElementException.class, none::next);
    });
    add("status/of a tree", (fs, top) -> {
      for (String each : new String[] {"a/f1", "a/b/f2", "a/b/c/f3", "d/f4"}) {
        write(fs, new Path(top, each), bytes(each.length()));
      }
      fs.mkdirs(new Path(top, "e"));
      equal("[a, d, e]", names(fs, top));
      equal("[f1, f2, f3, f4]", located(fs.listFiles(top, true)));
      equal("[f1]", located(fs.listFiles(new Path(top, "a"), false)));
      equal("[b, f1]", located(fs.listLocatedStatus(new Path(top, "a"))));
      RemoteIterator<FileStatus> iterator = fs.listStatusIterator(new Path(top, "a"));
      TreeSet<String> seen = new TreeSet<>();
      seen.add(iterator.next().getPath().getName());
      seen.add(iterator.next().getPath().getName());
      equal("[b, f1]", seen.toString());
      fails(NoSuchElementException.class, iterator::next);
      equal(1, fs.listStatus(new Path(top, "a"), each -> each.getName().equals("b")).length);
      equal(0, fs.listStatus(new Path(top, "a"), each -> false).length);
      equal(4L, fs.getContentSummary(top).getFileCount());
      equal(6L, fs.getContentSummary(top).getDirectoryCount());
    });
    add("status/changes while it is listed", (fs, top) -> {
      for (int i = 0; i < 10; i++) {
        fs.create(new Path(top, "f" + i)).close();
      }
      RemoteIterator<FileStatus> iterator = fs.listStatusIterator(top);
      iterator.next();
      check(fs.delete(new Path(top, "f9"), false));
      while (iterator.hasNext()) {
        iterator.next();
      }
      equal(9, fs.listStatus(top).length);
    });
  }

  private static void times() {
    add("times/what is missing", (fs, top) -> fails(FileNotFoundException.class, () -> {
      fs.setTimes(new Path(top, "none"), 1L, 1L);
      return null;
    }));
    add("times/set", (fs, top) -> {
      Path file = new Path(top, "f");
      write(fs, file, bytes(1));
      fs.setTimes(file, 1_600_000_000_123L, 1_500_000_000_456L);
      fs.setTimes(file, -1, 1_500_000_000_789L);
      equal(1_600_000_000_123L, fs.getFileStatus(file).getModificationTime());
      equal(1_500_000_000_789L, fs.getFileStatus(file).getAccessTime());
    });
  }

  private static void root() {
    Path slash = new Path("/");
    add("root/is not deleted", (fs, top) -> {
      fails(PathIsNotEmptyDirectoryException.class, () -> fs.delete(slash, false));
      check(!fs.delete(slash, true));
      check(fs.exists(top) && fs.getFileStatus(slash).isDirectory());
    });
    add("root/is no file", (fs, top) -> {
      fails(IOException.class, () -> write(fs, slash, bytes(1), true, false));
      fails(IOException.class, () -> firstByte(fs, slash));
      check(fs.getFileStatus(slash).isDirectory());
    });
    add("root/is not renamed", (fs, top) -> {
      check(!fs.rename(slash, new Path(top, "root")));
      check(fs.exists(top));
    });
    add("root/is listed", (fs, top) -> {
      String name = top.toUri().getPath().split("/")[1];
      check(Arrays.stream(fs.listStatus(slash)).anyMatch(
          each -> each.getPath().getName().equals(name)));
      write(fs, new Path(top, "f"), bytes(1));
      check(located(fs.listFiles(slash, true)).contains("f"));
    });
  }

  private static void handles() {
    add("handles/are not there", (fs, top) -> {
      write(fs, new Path(top, "f"), bytes(1));
      FileStatus status = fs.getFileStatus(new Path(top, "f"));
      fails(UnsupportedOperationException.class, () -> fs.getPathHandle(status));
    });
  }

  // --- what they are made of ---------------------------------------------------------------------

  private interface Reading {
    void run(FSDataInputStream in, byte[] data) throws Exception;
  }

  private static void seeks(FileSystem fs, Path top, Reading reading) throws Exception {
    byte[] data = bytes(200_000);
    write(fs, new Path(top, "f"), data);
    try (FSDataInputStream in = fs.open(new Path(top, "f"))) {
      reading.run(in, data);
    }
  }

  private static int fully(FSDataInputStream in, long at, byte[] into) throws IOException {
    int got = 0;
    for (int more; got < into.length; got += more) {
      more = in.read(at + got, into, got, into.length - got);
      if (more <= 0) {
        break;
      }
    }
    return got;
  }

  private static void add(String name, Case run) {
    if (CASES.put(name, run) != null) {
      throw new IllegalStateException("two cases " + name);
    }
  }

  private static byte[] bytes(int length) {
    byte[] made = new byte[length];
    new Random(length).nextBytes(made);
    return made;
  }

  private static byte[] joined(byte[]... parts) {
    ByteBuffer all = ByteBuffer.allocate(Arrays.stream(parts).mapToInt(each -> each.length).sum());
    for (byte[] each : parts) {
      all.put(each);
    }
    return all.array();
  }

  private static Object write(FileSystem fs, Path file, byte[] data) throws IOException {
    return write(fs, file, data, false, false);
  }

  private static Object write(
      FileSystem fs, Path file, byte[] data, boolean overwrite, boolean builder)
      throws IOException {
    try (FSDataOutputStream out = builder
        ? fs.createFile(file).overwrite(overwrite).recursive().build()
        : fs.create(file, overwrite)) {
      out.write(data);
    }
    return null;
  }

  private static Object append(FileSystem fs, Path file, byte[] data) throws IOException {
    try (FSDataOutputStream out = fs.append(file)) {
      out.write(data);
    }
    return null;
  }

  private static byte[] content(FileSystem fs, Path file) throws IOException {
    byte[] found = new byte[(int) fs.getFileStatus(file).getLen()];
    try (FSDataInputStream in = fs.open(file)) {
      in.readFully(found);
      if (in.read() != -1) {
        throw new IOException(file + " is longer than its status says");
      }
    }
    return found;
  }

  private static Object firstByte(FileSystem fs, Path file) throws IOException {
    try (FSDataInputStream in = fs.open(file)) {
      return in.read();
    }
  }

  private static String names(FileSystem fs, Path directory) throws IOException {
    TreeSet<String> names = new TreeSet<>();
    for (FileStatus each : fs.listStatus(directory)) {
      names.add(each.getPath().getName());
    }
    return names.toString();
  }

  private static String located(RemoteIterator<LocatedFileStatus> found) throws IOException {
    TreeSet<String> names = new TreeSet<>();
    while (found.hasNext()) {
      LocatedFileStatus each = found.next();
      if (each.isFile() && each.getLen() > 0 && each.getBlockLocations().length == 0) {
        throw new IOException("nobody has a block of " + each.getPath());
      }
      names.add(each.getPath().getName());
    }
    return names.toString();
  }

  private static void appears(FileSystem fs, Path file) throws Exception {
    long deadline = System.nanoTime() + 60_000_000_000L;
    while (!fs.exists(file)) {
      check(System.nanoTime() < deadline);
      Thread.sleep(10);
    }
  }

  private static void fails(Class<? extends Throwable> kind, Call call) {
    Object result;
    try {
      result = call.run();
    } catch (Throwable error) {
      if (kind.isInstance(error)) {
        return;
      }
      throw new AssertionError(kind.getSimpleName() + " wanted, not " + error, error);
    }
    throw new AssertionError(kind.getSimpleName() + " wanted, not the result " + result);
  }

  private static void check(boolean holds) {
    if (!holds) {
      throw new AssertionError("does not hold");
    }
  }

  private static void equal(Object wanted, Object found) {
    if (!wanted.equals(found)) {
      throw new AssertionError(wanted + " wanted, not " + found);
    }
  }

  private static void same(byte[] wanted, byte[] found) {
    if (!Arrays.equals(wanted, found)) {
      String text = new String(found, 0, Math.min(20, found.length), StandardCharsets.ISO_8859_1);
      throw new AssertionError("other bytes: " + found.length + " of them, " + text);
    }
  }
}
