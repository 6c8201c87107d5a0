# Builds the decode bench for Hopper: `make -f bench/decode.mk OUT=DIR` from native-kernels.
NVCC    ?= nvcc
OUT     ?= build
SOURCES := kernels/decode_linear.cu kernels/decode_attention.cu kernels/decode_experts.cu \
           kernels/decode_rows.cu kernels/sm90a/decode_gemm.cu \
           kernels/sm90a/decode_linear_fp8.cu kernels/sm90a/decode_experts_fp8.cu \
           kernels/sm90a/decode_gemm_fp8.cu bench/decode_bench.cu
OBJECTS := $(patsubst %.cu,$(OUT)/%.o,$(SOURCES))
FLAGS   := -std=c++20 -O3 -lineinfo -Iinclude -Ibench -Werror all-warnings \
           -gencode=arch=compute_90a,code=sm_90a

$(OUT)/decode_bench: $(OBJECTS)
	$(NVCC) $(FLAGS) -cudart static -o $@ $^

$(OUT)/%.o: %.cu $(wildcard include/*.cuh bench/*.cuh)
	@mkdir -p $(dir $@)
	$(NVCC) $(FLAGS) -c -o $@ $<
