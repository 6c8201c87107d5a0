package dev.gregale.security;

/** What a caller may do. */
public enum Role {
  /** Nobody in particular: no key was given, and none is needed. */
  ANONYMOUS,
  /** Use the model. */
  INFERENCE,
  /** Use the model and run the server. */
  ADMIN;

  /** Its name among Spring Security's authorities. */
  public String authority() {
    return "ROLE_" + name();
  }
}
