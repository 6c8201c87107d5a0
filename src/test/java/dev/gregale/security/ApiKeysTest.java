package dev.gregale.security;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;

class ApiKeysTest {
  private static KeyProperties key(String name, String key) {
    return new KeyProperties(name, HexFormat.of().formatHex(ApiKeys.sha256(key)), null, null);
  }

  private static ApiKeys keys(List<KeyProperties> inference, List<KeyProperties> admin) {
    return new ApiKeys(access(inference, false), new AdminProperties(admin, false));
  }

  private static AccessProperties access(List<KeyProperties> keys, boolean anonymous) {
    return new AccessProperties(keys, anonymous, 60, 2, List.of());
  }

  @Test
  void findsTheCallerOfAKeyAndOfNothingElse() {
    KeyProperties limited =
        new KeyProperties("b", HexFormat.of().formatHex(ApiKeys.sha256("two")), 7, 0);
    ApiKeys keys = keys(List.of(key("a", "one"), limited), List.of(key("root", "three")));
    assertThat(keys.find("one")).isEqualTo(new Caller("a", Role.INFERENCE, 60, 2));
    assertThat(keys.find("two")).isEqualTo(new Caller("b", Role.INFERENCE, 7, 0));
    assertThat(keys.find("three")).isEqualTo(new Caller("root", Role.ADMIN, 60, 2));
    for (String wrong : List.of("", "on", "one ", "One", "onetwo", "x".repeat(10_000))) {
      assertThat(keys.find(wrong)).as(wrong).isNull();
    }
    String hash = HexFormat.of().formatHex(ApiKeys.sha256("one"));
    assertThat(keys.find(hash)).as("the hash is not the key").isNull();
  }

  /** An admin key may be configured with an inference key's old name, or with an address. */
  @Test
  void noTwoCallersHaveTheSameIdentity() {
    assertThat(List.of(Role.values()).stream().map(role -> new Caller("::1", role, 0, 0).getName()))
        .doesNotHaveDuplicates();
  }

  /** printf %s abc | sha256sum */
  @Test
  void theHashIsPlainSha256() {
    assertThat(HexFormat.of().formatHex(ApiKeys.sha256("abc")))
        .isEqualTo("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  }

  @Test
  void oneKeyCannotBeInferenceAndAdminKey() {
    assertThatThrownBy(() -> keys(List.of(key("a", "same")), List.of(key("b", "same"))))
        .hasMessage("the key 'b' is configured twice");
    assertThatThrownBy(() -> keys(List.of(key("a", "one")), List.of(key("a", "two"))))
        .hasMessage("two keys have the name 'a'");
  }

  @Test
  void mistakesInTheConfigurationAreNamed() {
    assertThatThrownBy(() -> new KeyProperties("a", "secret", null, null))
        .hasMessageContaining("sha256 of key 'a' must be 64 hexadecimal digits");
    assertThatThrownBy(() -> key("a:b", "x")).hasMessageContaining("the name of a key");
    assertThatThrownBy(() -> new KeyProperties("a", "0".repeat(64), -1, null))
        .hasMessageContaining("requests-per-minute of key 'a' is -1");
    assertThatThrownBy(() -> access(List.of(key("a", "x")), true))
        .hasMessageContaining("allow-anonymous is true, but there are keys");
    assertThatThrownBy(() -> new AccessProperties(List.of(), false, 0, 0, List.of("*")))
        .hasMessageContaining("any web page");
  }

  @Test
  void whatIsOpenDependsOnTheKeys() {
    AdminProperties noAdmin = new AdminProperties(List.of(), false);
    AdminProperties admin = new AdminProperties(List.of(key("root", "r")), false);
    List<KeyProperties> some = List.of(key("a", "x"));
    assertThat(AccessPolicy.of(access(List.of(), false), noAdmin))
        .isEqualTo(new AccessPolicy(true, true, true));
    assertThat(AccessPolicy.of(access(List.of(), true), noAdmin))
        .isEqualTo(new AccessPolicy(true, false, false));
    assertThat(AccessPolicy.of(access(List.of(), false), admin))
        .isEqualTo(new AccessPolicy(true, false, false));
    assertThat(AccessPolicy.of(access(some, false), noAdmin))
        .isEqualTo(new AccessPolicy(false, false, false));
    assertThat(AccessPolicy.of(access(some, false), new AdminProperties(List.of(), true)))
        .isEqualTo(new AccessPolicy(false, false, true));
  }
}
