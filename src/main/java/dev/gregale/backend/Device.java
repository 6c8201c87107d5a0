package dev.gregale.backend;

/** A backend that is one device, with the steps that blocks are composed of. */
public interface Device extends Backend {

  @Override
  Kernels kernels();
}
