// %{banner}
//
// %{name}_trigger: the trigger's input words of one crossing in, one bit per threshold out,
// a new crossing every clock. Latency from valid_in to valid_out: %{latency} clock cycles, the
// output registers included; inputs go straight into logic and come from registers outside.
//
%{inputs}
//
// Thresholds are registers: threshold_write stores threshold_value into register threshold_index.
// Trigger bit i is score >= threshold i. A value of %{never} or more never fires, and is what rst
// puts into every register, so nothing fires before thresholds are written. A value written in one
// clock cycle decides for the events that come out two cycles later and after.
//
// rst (synchronous, active high) drops all events that are inside; valid_in and threshold_write are
// ignored while it is high. `trigger` is 0 while valid_out is low; `score` then means nothing.
`timescale 1 ns / 1 ps
module %{name}_trigger (
    input  wire clk,
    input  wire rst,
    input  wire valid_in,
%{object_ports}
    input  wire threshold_write,
    input  wire [%{index_msb}:0] threshold_index,
    input  wire [%{threshold_msb}:0] threshold_value,
    output wire valid_out,
    output wire [%{score_msb}:0] score,
    output reg  [%{trigger_msb}:0] trigger
);

%{presence}

    wire [%{words_msb}:0] words;
%{unpack}

    wire valid_next;
    wire [%{score_msb}:0] score_next;

    %{name}_core core_i (
        .clk(clk),
        .rst(rst),
        .valid_in(valid_in),
        .words(words),
        .valid_out(valid_out),
        .score(score),
        .valid_next(valid_next),
        .score_next(score_next)
    );

    genvar i;
    generate
        for (i = 0; i < %{n_thresholds}; i = i + 1) begin : seed
            reg [%{threshold_msb}:0] threshold;
            always @(posedge clk) begin
                if (rst) threshold <= {%{threshold_bits}{1'b1}};
                else if (threshold_write && {{(32 - %{index_bits}){1'b0}}, threshold_index} == i)
                    threshold <= threshold_value;
                trigger[i] <= valid_next & ~rst & ({1'b0, score_next} >= threshold);
            end
        end
    endgenerate

endmodule
