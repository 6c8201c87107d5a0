package dev.gregale.backend.cuda;

import jcuda.driver.CUdeviceptr;

/** A device address that can be read as a number. */
final class DevicePointer extends CUdeviceptr {

  long address() {
    return getNativePointer() + getByteOffset();
  }
}
