package dev.gregale;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The rooms of docs/architecture.md, and who may enter which. */
class ArchitectureTest {
  private static final String BASE = "dev.gregale.";
  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("dev.gregale");

  /** Room and what it may use, beside the JDK and libraries. */
  private static final Map<String, List<String>> MAY_USE =
      Map.ofEntries(
          Map.entry(
              "web",
              List.of("engine", "sampling", "structured", "tokenizer", "convert", "security")),
          Map.entry("security", List.of()),
          Map.entry(
              "engine",
              List.of("scheduler", "model", "sampling", "tokenizer", "backend", "tensor")),
          Map.entry("scheduler", List.of("sampling")),
          Map.entry("sampling", List.of()),
          Map.entry("structured", List.of("sampling", "tokenizer")),
          Map.entry("tokenizer", List.of()),
          Map.entry(
              "model", List.of("backend", "checkpoint", "scheduler", "tensor", "quantization")),
          Map.entry("backend", List.of("tensor")),
          Map.entry("backend.cpu", List.of("backend", "tensor", "quantization")),
          Map.entry("backend.parallel", List.of("backend", "tensor")),
          Map.entry("backend.cuda", List.of("backend", "tensor")),
          Map.entry("convert", List.of("checkpoint", "tensor", "quantization")),
          Map.entry("checkpoint", List.of("tensor")),
          Map.entry("quantization", List.of("tensor")),
          Map.entry("tensor", List.of()));

  @Test
  void roomsUseOnlyWhatTheyMay() {
    MAY_USE.forEach(
        (room, others) -> {
          List<String> allowed = new ArrayList<>();
          allowed.add(BASE + room);
          others.forEach(other -> allowed.add(BASE + other));
          classes()
              .that()
              .resideInAPackage(BASE + room)
              .should()
              .onlyDependOnClassesThat(
                  JavaClass.Predicates.resideOutsideOfPackage("dev.gregale..")
                      .or(JavaClass.Predicates.resideInAnyPackage(allowed.toArray(String[]::new))))
              .check(CLASSES);
        });
  }

  @Test
  void everyRoomIsKnown() {
    List<String> known = new ArrayList<>(MAY_USE.keySet().stream().map(BASE::concat).toList());
    known.addAll(List.of("dev.gregale", BASE + "config", BASE + "cli"));
    classes().should().resideInAnyPackage(known.toArray(String[]::new)).check(CLASSES);
  }

  @Test
  void roomsAreFreeOfCycles() {
    slices().matching("dev.gregale.(*)..").should().beFreeOfCycles().check(CLASSES);
  }

  @ParameterizedTest
  @CsvSource({
    "jcuda.., dev.gregale.backend.cuda",
    "jdk.incubator.vector.., dev.gregale.backend.cpu",
    "ai.djl.., dev.gregale.tokenizer",
    "com.hubspot.., dev.gregale.tokenizer",
    "com.fasterxml.jackson.core.., nowhere",
    "com.fasterxml.jackson.databind.., nowhere",
  })
  void librariesStayInTheirRoom(String library, String room) {
    noClasses()
        .that()
        .resideOutsideOfPackage(room)
        .should()
        .dependOnClassesThat()
        .resideInAPackage(library)
        .check(CLASSES);
  }

  @Test
  void springStaysAtTheEdge() {
    noClasses()
        .that()
        .resideOutsideOfPackages(
            "dev.gregale", BASE + "config", BASE + "web", BASE + "security", BASE + "cli")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.springframework..")
        .check(CLASSES);
  }

  @Test
  void reactorStaysAtTheEdge() {
    noClasses()
        .that()
        .resideOutsideOfPackages(
            BASE + "config", BASE + "web", BASE + "security", BASE + "cli", BASE + "engine")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("reactor..")
        .check(CLASSES);
  }

  /** No URL is fetched for a request, because nothing here can fetch one. */
  @Test
  void nothingCallsOut() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            "java.net.http..",
            "javax.net..",
            "org.springframework.http.client..",
            "org.springframework.web.client..",
            "org.springframework.web.reactive.function.client..",
            "reactor.netty.http.client..",
            "reactor.netty.tcp..",
            "okhttp3..")
        .orShould()
        .dependOnClassesThat()
        .haveNameMatching("java\\.net\\.(Socket|URLConnection|HttpURLConnection)")
        .orShould()
        .callMethod(java.net.URL.class, "openStream")
        .orShould()
        .callMethod(java.net.URL.class, "openConnection")
        .orShould()
        .callMethod(java.net.URL.class, "getContent")
        .check(CLASSES);
  }
}
