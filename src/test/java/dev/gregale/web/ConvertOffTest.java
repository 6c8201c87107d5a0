package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpResponse;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Without configured roots there is no conversion over HTTP, and an answer says how to have it. */
class ConvertOffTest extends WebTest {

  @Test
  void everyRouteIsOff() throws Exception {
    for (HttpResponse<String> answer :
        List.of(
            send(post("/admin/convert", "{\"source\":\"a\",\"target\":\"b\"}")),
            get("/admin/convert"),
            get("/admin/convert/conv-1"),
            get("/admin/convert/conv-1/events"),
            send(request("/admin/convert/conv-1").DELETE().build()))) {
      assertThat(answer.statusCode()).isEqualTo(403);
      assertThat(answer.headers().firstValue("Content-Type")).hasValue("application/problem+json");
      assertThat(JSON.readTree(answer.body()).get("detail").asString())
          .contains("set gregale.convert.roots");
    }
    assertThat(get("/admin/else").statusCode()).isEqualTo(404);
  }
}
