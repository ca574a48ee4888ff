import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.zip.CRC32;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.util.ToolRunner;

/**
 * Hadoop's shell, one command a line: starting a JVM takes longer than a command.
 *
 * A line is base64 words: standard input, then the arguments. Answered by a line
 * "reply STATUS BASE64-OF-OUTPUT BASE64-OF-ERRORS"; other lines are logs. One command is none of
 * Hadoop's: "-seeks FILE SIZE OFFSET..." reads so many bytes at each offset of one open file and
 * prints the seconds that took and the CRC-32 of all of them.
 */
public final class FsShellLines {
  public static void main(String[] arguments) throws Exception {
    PrintStream replies = System.out;
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = lines.readLine()) != null; ) {
      String[] words = line.split(" ", -1);
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      ByteArrayOutputStream errors = new ByteArrayOutputStream();
      System.setIn(new ByteArrayInputStream(Base64.getDecoder().decode(words[0])));
      System.setOut(new PrintStream(out, true, "UTF-8"));
      System.setErr(new PrintStream(errors, true, "UTF-8"));
      int status = run(Arrays.copyOfRange(words, 1, words.length));
      System.out.flush();
      System.err.flush();
      replies.println("reply " + status + " " + encoded(out) + " " + encoded(errors));
      replies.flush();
    }
  }

  private static int run(String[] words) {
    String[] arguments = new String[words.length];
    for (int i = 0; i < words.length; i++) {
      arguments[i] = new String(Base64.getDecoder().decode(words[i]), StandardCharsets.UTF_8);
    }
    try {
      if (arguments[0].equals("-seeks")) {
        return seeks(arguments);
      }
      return ToolRunner.run(new Configuration(), new FsShell(), arguments);
    } catch (Throwable error) {
      error.printStackTrace();
      return 255;
    }
  }

  private static int seeks(String[] arguments) throws Exception {
    Path file = new Path(arguments[1]);
    byte[] buffer = new byte[Integer.parseInt(arguments[2])];
    CRC32 crc = new CRC32();
    long began = System.nanoTime();
    try (FSDataInputStream in = file.getFileSystem(new Configuration()).open(file)) {
      for (int i = 3; i < arguments.length; i++) {
        in.seek(Long.parseLong(arguments[i]));
        in.readFully(buffer);
        crc.update(buffer);
      }
    }
    System.out.println((System.nanoTime() - began) / 1e9 + " " + crc.getValue());
    return 0;
  }

  private static String encoded(ByteArrayOutputStream bytes) {
    return Base64.getEncoder().encodeToString(bytes.toByteArray());
  }
}
