package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.springframework.boot.convert.DurationStyle;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import tools.jackson.databind.JsonNode;

/** What is shipped for operators fits the server that it is shipped with. */
class DeploymentFilesTest extends RunningServer {
  private static final Path COMPOSE = Path.of("docker-compose.yml");
  private static final Path KUBERNETES = Path.of("deploy/kubernetes");
  private static final Pattern METRIC =
      Pattern.compile("\\b(?:gregale|jvm|process|system|gen_ai)_[a-z0-9_]+|vllm:[a-z0-9_]+");

  /** Metrics that only a GPU has. */
  private static final Set<String> OF_GPUS =
      Set.of("gregale_device_memory_allocated_bytes", "gregale_device_memory_total_bytes");

  /** How long the engine may take beyond its drain timeout, and the web server after it. */
  private static final Duration AFTER_DRAIN = Duration.ofSeconds(10 + 30);

  private static List<Map<String, Object>> yaml(Path file) {
    List<Map<String, Object>> documents = new ArrayList<>();
    try {
      new Yaml(new SafeConstructor(new LoaderOptions()))
          .loadAll(Files.readString(file))
          .forEach(document -> documents.add(asMap(document)));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    return documents;
  }

  @SuppressWarnings("unchecked") // keys of these files are strings
  private static Map<String, Object> asMap(Object value) {
    return (Map<String, Object>) value;
  }

  @SuppressWarnings("unchecked") // as above
  private static <T> T at(Object value, String path) {
    Object found = value;
    for (String step : path.split("/")) {
      found =
          found instanceof List<?> list ? list.get(Integer.parseInt(step)) : asMap(found).get(step);
      assertThat(found).as(path).isNotNull();
    }
    return (T) found;
  }

  private static void strings(Object value, Consumer<String> found) {
    switch (value) {
      case Map<?, ?> map -> map.values().forEach(v -> strings(v, found));
      case List<?> list -> list.forEach(v -> strings(v, found));
      case String text -> found.accept(text);
      default -> {}
    }
  }

  private static void metricsOf(String text, Set<String> metrics) {
    Matcher name = METRIC.matcher(text);
    while (name.find()) {
      metrics.add(name.group());
    }
  }

  /** Every metric in a panel, an alert or an autoscaler is one that the server has. */
  @Test
  void everyMetricExists() throws Exception {
    accepted(
        Map.of("model", MODEL, "prompt", "Once", "max_tokens", 2, "seed", 1), "/v1/completions");
    send(Map.of(), "/v1/completions").join();
    System.gc(); // pauses are counted from the first one on
    Set<String> named = new TreeSet<>();
    JsonNode dashboard =
        JSON.readTree(Files.readString(Path.of("deploy/grafana/dashboards/gregale.json")));
    List<JsonNode> expressions = dashboard.findValues("expr");
    assertThat(expressions).hasSizeGreaterThan(20);
    expressions.forEach(expr -> metricsOf(expr.asString(), named));
    metricsOf(dashboard.at("/templating").toString(), named);
    yaml(Path.of("deploy/prometheus/alerts.yml"))
        .forEach(rules -> strings(rules, text -> metricsOf(text, named)));
    for (String file : List.of("autoscaling-keda.yaml", "autoscaling-hpa.yaml")) {
      Set<String> scaled = new TreeSet<>();
      yaml(KUBERNETES.resolve(file)).forEach(d -> strings(d, text -> metricsOf(text, scaled)));
      assertThat(scaled).as(file).containsExactly("gregale_requests_waiting");
      named.addAll(scaled);
    }
    named.removeAll(OF_GPUS);
    Set<String> served = new TreeSet<>();
    for (String line : get("/actuator/prometheus").body().split("\n")) {
      served.add(line.split("[{ ]")[0]);
    }
    assertThat(named).hasSizeGreaterThan(20);
    assertThat(served).containsAll(named);
  }

  @Test
  void composeFilesFitTogether() throws Exception {
    Map<String, Object> compose = yaml(COMPOSE).getFirst();
    Map<String, Object> services = asMap(compose.get("services"));
    assertThat(services).containsOnlyKeys("gregale-cpu", "gregale-gpu", "prometheus", "grafana");
    services.forEach(
        (name, service) -> {
          boolean built = asMap(service).containsKey("build");
          assertThat(built || asMap(service).containsKey("image")).as(name).isTrue();
          List<String> ports = at(service, "ports");
          assertThat(ports).as(name).allMatch(port -> port.startsWith("127.0.0.1:"));
          List<String> volumes = at(service, "volumes");
          volumes.stream()
              .filter(volume -> volume.startsWith("./"))
              .forEach(volume -> assertThat(Path.of(volume.split(":")[0])).isDirectory());
        });
    Duration grace = DurationStyle.detectAndParse(at(services, "gregale-cpu/stop_grace_period"));
    assertThat(grace).isGreaterThanOrEqualTo(Duration.ofSeconds(20).plus(AFTER_DRAIN));
    for (String profile : List.of("cpu", "gpu")) {
      List<String> profiles = at(services, "gregale-" + profile + "/profiles");
      assertThat(profiles).containsExactly(profile);
      String backend = at(services, "gregale-" + profile + "/build/args/BACKEND");
      assertThat(Files.readString(Path.of("Dockerfile"))).contains(" AS build-" + backend + "\n");
      assertKnown(at(services, "gregale-" + profile + "/environment"));
    }
    Map<String, Object> scrape =
        at(yaml(Path.of("deploy/prometheus/prometheus.yml")).getFirst(), "scrape_configs/0");
    assertThat(get(at(scrape, "metrics_path")).statusCode()).isEqualTo(200);
    String target = at(scrape, "static_configs/0/targets/0");
    assertThat(target).isEqualTo("gregale:8080");
    List<String> aliases = at(services, "gregale-cpu/networks/default/aliases");
    assertThat(aliases).containsExactly("gregale");
    String source =
        at(
            yaml(Path.of("deploy/grafana/provisioning/datasources/prometheus.yaml")).getFirst(),
            "datasources/0/uid");
    assertThat(Files.readString(Path.of("deploy/grafana/dashboards/gregale.json")))
        .contains("\"uid\": \"" + source + "\"");
  }

  /** GREGALE_ variables are properties of the server, under Spring Boot's rule of their names. */
  private static void assertKnown(Map<String, Object> environment) throws IOException {
    Set<String> known = new TreeSet<>();
    try (InputStream in =
        Objects.requireNonNull(
            DeploymentFilesTest.class.getResourceAsStream(
                "/META-INF/spring-configuration-metadata.json"))) {
      JSON.readTree(in)
          .get("properties")
          .forEach(property -> known.add(variable(property.get("name").asString())));
    }
    environment.keySet().stream()
        .filter(name -> name.startsWith("GREGALE_"))
        .forEach(name -> assertThat(known).contains(name));
  }

  private static String variable(String property) {
    return property.replace("-", "").replace('.', '_').toUpperCase(Locale.ROOT);
  }

  @Test
  void kubernetesManifestsFitTogether() throws Exception {
    Map<String, Object> kustomization = yaml(KUBERNETES.resolve("kustomization.yaml")).getFirst();
    List<String> resources = at(kustomization, "resources");
    assertThat(resources).allMatch(file -> Files.exists(KUBERNETES.resolve(file)));
    try (Stream<Path> files = Files.list(KUBERNETES)) {
      files.forEach(
          file ->
              assertThat(yaml(file))
                  .allMatch(d -> d.keySet().containsAll(Set.of("apiVersion", "kind"))));
    }
    Map<String, Object> deployment = yaml(KUBERNETES.resolve("deployment.yaml")).getFirst();
    Map<String, Object> pod = at(deployment, "spec/template/spec");
    Map<String, Object> container = at(pod, "containers/0");
    Map<String, Object> labels = at(deployment, "spec/template/metadata/labels");
    Map<String, Object> selector = at(deployment, "spec/selector/matchLabels");
    assertThat(selector).isEqualTo(labels);
    Map<String, Object> service = yaml(KUBERNETES.resolve("service.yaml")).getFirst();
    assertThat(asMap(at(service, "spec/selector"))).isEqualTo(labels);
    String portName = at(container, "ports/0/name");
    for (String probe : List.of("startupProbe", "readinessProbe", "livenessProbe")) {
      assertThat(get(at(container, probe + "/httpGet/path")).statusCode()).isEqualTo(200);
      assertThat((String) at(container, probe + "/httpGet/port")).isEqualTo(portName);
    }
    assertThat((String) at(service, "spec/ports/0/targetPort")).isEqualTo(portName);
    Map<String, Object> environment = new java.util.HashMap<>();
    List<Map<String, Object>> variables = at(container, "env");
    variables.forEach(v -> environment.put((String) v.get("name"), v.get("value")));
    assertKnown(environment);
    int preStop = at(container, "lifecycle/preStop/sleep/seconds");
    int grace = at(pod, "terminationGracePeriodSeconds");
    Duration drain =
        DurationStyle.detectAndParse((String) environment.get("GREGALE_ENGINE_DRAINTIMEOUT"));
    assertThat(Duration.ofSeconds(grace))
        .isGreaterThan(drain.plus(AFTER_DRAIN).plusSeconds(preStop));
    Map<String, Object> annotations = at(deployment, "spec/template/metadata/annotations");
    String path = (String) annotations.get("prometheus.io/path");
    assertThat(get(path).statusCode()).isEqualTo(200);
  }
}
