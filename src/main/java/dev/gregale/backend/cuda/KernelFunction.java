package dev.gregale.backend.cuda;

/**
 * A kernel of a loaded module.
 *
 * @param name as exported
 * @param handle the driver's CUfunction
 */
record KernelFunction(String name, long handle) {}
