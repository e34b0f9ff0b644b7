import io.grpc.testing.integration.Http2Client;
import io.grpc.testing.integration.TestServiceClient;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;

/**
 * Runs cases of grpc-java's clients one after the other in one virtual machine, because its start
 * takes longer than the cases: Cases PROGRAM CASE,CASE... FLAG...
 *
 * <p>Says for each, as a line of its own, "case NAME MILLISECONDS ok" or "... failed WHY".
 */
public final class Cases {
  private Cases() {}

  /** What main methods are. */
  private interface Program {
    void main(String[] flags) throws Exception;
  }

  public static void main(String[] arguments) {
    Program program =
        arguments[0].equals("http2") ? Http2Client::main : TestServiceClient::main;
    PrintStream out = System.out;
    // What the clients themselves print there goes to the log.
    System.setOut(System.err);
    for (String name : arguments[1].split(",")) {
      List<String> flags = new ArrayList<>(List.of(arguments).subList(2, arguments.length));
      flags.add("--test_case=" + name);
      long begin = System.nanoTime();
      String end = "ok";
      try {
        program.main(flags.toArray(new String[0]));
      } catch (Throwable error) {
        error.printStackTrace();
        end = "failed " + error.toString().replace('\n', ' ');
      }
      out.println("case " + name + " " + (System.nanoTime() - begin) / 1_000_000 + " " + end);
      out.flush();
    }
    System.exit(0);
  }
}
