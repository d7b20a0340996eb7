// The steps as a Restate service: each step's result is in Restate's log before the next one begins.
import "./node20.mjs";
import * as restate from "@restatedev/restate-sdk";
import { charge, complete, reserve } from "./steps.mjs";

const order = restate.service({
  name: "order",
  handlers: {
    place: async (ctx, asked) => {
      await ctx.run("reserve", () => reserve(asked));
      const intent = await ctx.run("charge", () => charge(asked));
      await ctx.run("complete", () => complete(asked, intent));
      return { order: asked.order };
    },
  },
});

restate.serve({ services: [order], port: Number(process.env.PORT) });
