-- %{banner}
--
-- %{name}_trigger: the trigger's input words of one crossing in, one bit per threshold out,
-- a new crossing every clock. Latency from valid_in to valid_out: %{latency} clock cycles, the
-- output registers included; inputs go straight into logic and come from registers outside.
--
%{inputs}
--
-- Thresholds are registers: threshold_write stores threshold_value into register threshold_index.
-- Trigger bit i is score >= threshold i. A value of %{never} or more never fires, and is what rst
-- puts into every register, so nothing fires before thresholds are written. A value written in one
-- clock cycle decides for the events that come out two cycles later and after.
--
-- rst (synchronous, active high) drops all events that are inside; valid_in and threshold_write are
-- ignored while it is high. trigger is 0 while valid_out is low; score then means nothing.
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity %{name}_trigger is
    port (
        clk             : in  std_logic;
        rst             : in  std_logic;
        valid_in        : in  std_logic;
%{object_ports}
        threshold_write : in  std_logic;
        threshold_index : in  std_logic_vector(%{index_msb} downto 0);
        threshold_value : in  std_logic_vector(%{threshold_msb} downto 0);
        valid_out       : out std_logic;
        score           : out std_logic_vector(%{score_msb} downto 0);
        trigger         : out std_logic_vector(%{trigger_msb} downto 0)
    );
end entity;

architecture rtl of %{name}_trigger is
    type threshold_registers is array (0 to %{n_thresholds} - 1) of unsigned(%{threshold_msb} downto 0);
    signal threshold  : threshold_registers;
    signal words      : std_logic_vector(%{words_msb} downto 0);
    signal valid_next : std_logic;
    signal score_next : std_logic_vector(%{score_msb} downto 0);
%{presence_signals}
begin

%{presence}

%{unpack}

    core_i : entity work.%{name}_core
        port map (
            clk => clk, rst => rst, valid_in => valid_in, words => words,
            valid_out => valid_out, score => score,
            valid_next => valid_next, score_next => score_next
        );

    process (clk)
    begin
        if rising_edge(clk) then
            for i in 0 to %{n_thresholds} - 1 loop
                if rst = '1' then
                    threshold(i) <= (others => '1');
                elsif threshold_write = '1' and unsigned(threshold_index) = i then
                    threshold(i) <= unsigned(threshold_value);
                end if;
                if rst = '0' and valid_next = '1' and unsigned('0' & score_next) >= threshold(i) then
                    trigger(i) <= '1';
                else
                    trigger(i) <= '0';
                end if;
            end loop;
        end if;
    end process;

end architecture;
