/* global Chart */
import { Component, onWillStart, onWillUpdateProps, useEffect, useRef, useState } from "@odoo/owl";

import { loadBundle } from "@web/core/assets";
import { cookie } from "@web/core/browser/cookie";
import { getColor, getCustomColor } from "@web/core/colors/colors";
import { formatDate } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { KeepLast } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { formatFloat } from "@web/views/fields/formatters";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

const { DateTime } = luxon;

const PERIODS = [30, 90, 365];

/** A dashed line through the day on which past and future meet. */
const todayMark = {
    id: "todayMark",
    afterDatasetsDraw(chart, _args, { date, color }) {
        const { ctx, chartArea, scales } = chart;
        const x = scales.x.getPixelForValue(date);
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = color;
        ctx.setLineDash([3, 3]);
        ctx.beginPath();
        ctx.moveTo(x, chartArea.top);
        ctx.lineTo(x, chartArea.bottom);
        ctx.stroke();
        ctx.textAlign = "center";
        ctx.fillText(_t("Today"), x, chartArea.top - 4);
        ctx.restore();
    },
};

/** What there was of a product, and what is to be expected, as a line of steps. */
export class AvailabilityChart extends Component {
    static template = "stock_event_ledger.AvailabilityChart";
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.keepLast = new KeepLast();
        this.canvasRef = useRef("canvas");
        this.periods = PERIODS;
        this.state = useState({ period: PERIODS[0], warehouseId: false, days: [] });
        onWillStart(async () => {
            [this.warehouses] = await Promise.all([
                this.orm.searchRead("stock.warehouse", [], ["display_name"]),
                loadBundle("web.chartjs_lib"),
                this.load(),
            ]);
        });
        onWillUpdateProps((nextProps) => this.load(nextProps));
        useEffect(
            () => {
                const chart = new Chart(this.canvasRef.el, this.getChartConfig());
                return () => chart.destroy();
            },
            () => [this.state.days]
        );
    }

    async load({ record } = this.props) {
        const today = DateTime.utc();
        const { period, warehouseId } = this.state;
        this.state.days = await this.keepLast.add(
            this.orm.call(record.resModel, "get_availability", [
                [record.resId],
                today.minus({ days: period }).toISODate(),
                today.plus({ days: period }).toISODate(),
                warehouseId,
            ])
        );
    }

    onChangePeriod(ev) {
        this.state.period = Number(ev.target.value);
        this.load();
    }

    onChangeWarehouse(ev) {
        this.state.warehouseId = Number(ev.target.value) || false;
        this.load();
    }

    get today() {
        return this.state.days.find((day) => "physical" in day && "forecast" in day);
    }

    get unit() {
        return this.props.record.data.uom_name;
    }

    /** The days on which something changes, the first, the last and today. */
    get steps() {
        const { days } = this.state;
        return days.filter(
            (day, index) =>
                index === 0 ||
                index === days.length - 1 ||
                day === this.today ||
                (day.physical ?? day.forecast) !==
                    (days[index - 1].forecast ?? days[index - 1].physical)
        );
    }

    get summary() {
        const last = this.state.days.at(-1);
        return _t("%(physical)s %(unit)s today, %(forecast)s %(unit)s expected on %(date)s", {
            physical: this.formatQuantity(this.today.physical),
            unit: this.unit,
            forecast: this.formatQuantity(last.forecast),
            date: this.formatDay(last.date),
        });
    }

    formatQuantity(quantity) {
        return quantity === undefined
            ? ""
            : formatFloat(quantity, { digits: [16, 6], trailingZeros: false });
    }

    formatDay(date) {
        return formatDate(DateTime.fromISO(date));
    }

    getPoints(name) {
        return this.steps
            .filter((day) => name in day)
            .map((day) => ({ x: DateTime.fromISO(day.date).toMillis(), y: day[name] }));
    }

    getDataset(label, data, color, options = {}) {
        return {
            label,
            data,
            borderColor: color,
            backgroundColor: color,
            borderWidth: 2,
            pointRadius: 2,
            stepped: true,
            ...options,
        };
    }

    getChartConfig() {
        const scheme = cookie.get("color_scheme");
        const text = getCustomColor(scheme, "#111827", "#E4E4E4");
        const grid = getCustomColor(scheme, "rgba(0,0,0,.1)", "rgba(255,255,255,.15)");
        const colors = [getColor(0, scheme, "odoo"), getColor(1, scheme, "odoo")];
        const physical = this.getPoints("physical");
        // Today's moves, and overdue ones, are a step away from what is there now.
        const forecast = [physical.at(-1), ...this.getPoints("forecast")];
        const axis = { grid: { color: grid }, ticks: { color: text } };
        return {
            type: "line",
            data: {
                datasets: [
                    this.getDataset(_t("Physical"), physical, colors[0]),
                    this.getDataset(_t("Forecast"), forecast, colors[1], { borderDash: [6, 4] }),
                ],
            },
            options: {
                animation: false,
                maintainAspectRatio: false,
                interaction: { mode: "nearest", axis: "x", intersect: false },
                layout: { padding: { top: 16 } },
                plugins: {
                    legend: {
                        position: "bottom",
                        labels: { color: text, usePointStyle: true, pointStyle: "line" },
                    },
                    todayMark: { date: physical.at(-1).x, color: text },
                    tooltip: {
                        callbacks: {
                            title: ([item]) => formatDate(DateTime.fromMillis(item.parsed.x)),
                        },
                    },
                },
                scales: {
                    x: { ...axis, type: "time", time: { minUnit: "day" } },
                    y: { ...axis, title: { display: true, text: this.unit, color: text }, grace: "5%" },
                },
            },
            plugins: [todayMark],
        };
    }
}

export const availabilityChart = {
    component: AvailabilityChart,
    fieldDependencies: [{ name: "uom_name", type: "char" }],
};

registry.category("view_widgets").add("stock_availability_chart", availabilityChart);
