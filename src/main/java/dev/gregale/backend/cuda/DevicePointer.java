package dev.gregale.backend.cuda;

import jcuda.driver.CUdeviceptr;

/** A device address that can be read as a number. */
final class DevicePointer extends CUdeviceptr {

  DevicePointer() {}

  private DevicePointer(DevicePointer base, long bytes) {
    super(base, bytes);
  }

  /** So many bytes on. */
  DevicePointer plus(long bytes) {
    return new DevicePointer(this, bytes);
  }

  long address() {
    return getNativePointer() + getByteOffset();
  }
}
